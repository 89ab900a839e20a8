"""The page of a key: its rows step by step, its checks, what was committed to it, and a comparison with another key."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from kale_tasks.lake.changes import commits, compare
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import accept, blocked_runs
from kale_tasks.quality.committed import Found, find
from kale_tasks.quality.cost import Effort, efforts
from kale_tasks.quality.report import funnel, overall
from kale_tasks.quality.stored import read_report
from kale_tasks.resources import sql
from kale_tasks.status import all_keys
from kale_tasks.ui.access import RIGHTS
from kale_tasks.ui.answers import allow, back, page
from kale_tasks.ui.site import Opened, Site

_COMMITS = 60  # of a key, the latest
_KEPT = 120.0  # seconds
_TABLES = ("pairs", "images", "texts", "captions")
# What can be started for a key: right, Dag, form of the run, words on the button.
STARTS: Mapping[str, tuple[str, str, Mapping[str, Any], str]] = {
    "ingest": ("ingest", "ingest", {}, "Ingest"),
    "images": ("images", "images", {}, "Fetch images"),
    "redrive": ("images", "images", {"redrive": True}, "Fetch failed images again"),
    "captions": ("captions", "stage1", {}, "Caption, stage 1"),
    "student": ("student", "stage2", {}, "Caption, stage 2"),
    "report": ("report", "quality_report", {}, "Make the report"),
}


class Asked(BaseModel):
    """What the page compares: two snapshots of a table, or another key; empty means nothing."""

    table: Annotated[str, Field(max_length=20)] = ""
    old: int = 0
    new: int = 0
    other: Annotated[str, Field(max_length=64)] = ""


Text = Annotated[str, Form(max_length=2000)]
Short = Annotated[str, Form(max_length=80)]


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def key(name: str, request: Request, asked: Annotated[Asked, Query()]) -> Response:
        opened = site.look()
        found = find(opened.lake, check_key(name), blocked=True)
        landed = all_keys(opened.lake, opened.settings)
        if not found and name not in landed:
            raise HTTPException(404, f"Nothing has landed for {name}, and nothing is committed for it.")
        changed = _changed(opened, name, asked) if asked.table and asked.old and asked.new else None
        return page(
            site,
            request,
            "key.html",
            here="overview",
            key=name,
            status=overall([one.status for one in found]),
            found=found,
            blocked=[(run, _right(run.step)) for run in blocked_runs(opened.lake).values() if run.key == name],
            funnel=funnel(found),
            efforts=_efforts(site, opened, name, found) if found else [],
            commits=_commits(opened.lake, name),
            changed=changed,
            others=[one for one in landed if one != name],
            other=asked.other,
            compared=_compared(opened.lake, name, check_key(asked.other)) if asked.other else None,
            reported=read_report(opened.lake.storage, name, "summary.json") is not None,
            starts=STARTS,
        )

    def start(name: str, request: Request, what: Short, token: Short = "") -> Response:
        if what not in STARTS:
            raise HTTPException(404, "There is nothing of this name to start.")
        right, dag, conf, _ = STARTS[what]
        allow(site, request, right, token)
        run = site.access.start(request, dag, check_key(name), conf)
        site.access.record(request, "start", {"dag": dag, "key": name, "run": run, **conf})
        return back(site, request, f"/keys/{quote(name)}", f"Airflow has started {run}.")

    def accept_run(name: str, request: Request, fingerprint: Short, why: Text, token: Short = "") -> Response:
        lake = site.open().lake
        runs = [run for run in blocked_runs(lake).values() if (run.key, run.fingerprint) == (name, fingerprint)]
        if not runs:
            raise HTTPException(409, f"{name} is not blocked by run {fingerprint} any more. Nothing was accepted.")
        allow(site, request, _right(runs[0].step), token)
        if not why.strip():
            raise HTTPException(422, "Say why the rows are good enough; nothing was accepted.")
        accept(lake.storage, runs[0].seal_id, f"{why.strip()} ({site.access.name(request)})")
        site.access.record(request, "accept", {"key": name, "step": runs[0].step, "run": fingerprint, "why": why})
        return back(site, request, f"/keys/{quote(name)}", "Accepted. Start the step again: it commits the run.")

    app.add_api_route("/keys/{name}", key)
    app.add_api_route("/keys/{name}/start", start, methods=["POST"])
    app.add_api_route("/keys/{name}/accept", accept_run, methods=["POST"])


def _efforts(site: Site, opened: Opened, key: str, found: Sequence[Found]) -> list[Effort]:
    """What the runs of a key took, as long as its part of the ledger is the same."""
    of = "efforts", opened.rows.files("runs", key), tuple((one.heading, one.committed.fingerprint) for one in found)
    return site.remember(of, _KEPT, lambda: efforts(opened.lake, key, found))


def _right(step: str) -> str:
    return step if step in RIGHTS else "captions"  # fuse and the passes of a recipe


def _commits(lake: Lake, key: str) -> list[dict[str, Any]]:
    """The latest commits of a key, the latest first, each with the one of the same table and step before it."""
    rows = [row for name in _TABLES if name in lake.tables() for row in commits(lake, name) if row["key"] == key]
    before: dict[tuple[str, str], int] = {}
    for row in sorted(rows, key=lambda row: str(row["at"])):
        place = row["table"], str(row["step"])
        row["before"], before[place] = before.get(place), row["snapshot"]
    return sorted(rows, key=lambda row: str(row["at"]), reverse=True)[:_COMMITS]


def _changed(opened: Opened, key: str, asked: Asked) -> dict[str, Any]:
    """What changed in a key between two snapshots of a table: files and rows; of captions also texts."""
    table, old, new = asked.table, asked.old, asked.new
    if table not in _TABLES:
        raise HTTPException(404, f"There is no table {table[:20]} to compare.")
    try:
        files = [row for row in compare(opened.lake, table, old, new) if row["key"] == key]
        sides = {n: _at(opened.lake, table, key, at) for n, at in (("old_rows", old), ("new_rows", new))}
    except ValueError as error:
        raise HTTPException(
            404, "One of these snapshots has expired. `kale history` lists those that exist."
        ) from error
    texts = opened.rows.ask(sql("reports/release_diff"), {}, {n: (table, f) for n, f in sides.items()})
    return {"table": table, "old": old, "new": new, "files": files, "texts": texts if table == "captions" else []}


def _at(lake: Lake, table: str, key: str, snapshot: int) -> list[DataFile]:
    return [file for place, files in lake.files_at(table, snapshot).items() if place.key == key for file in files]


def _compared(lake: Lake, key: str, other: str) -> dict[str, Mapping[str, Any]]:
    """Counts and figures of two keys by name."""
    sides = [find(lake, one, blocked=True) for one in (key, other)]
    counts, figures = [funnel(one) for one in sides], [_figures(one) for one in sides]
    return {"rows": _beside(counts), "figures": _beside(figures)}


def _figures(found: Sequence[Found]) -> dict[str, float | None]:
    results = [(one.title, one.result.figures) for one in found if one.result]
    return {f"{title}: {name}": value for title, figures in results for name, value in figures.items()}


def _beside(sides: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [side.get(name) for side in sides] for name in dict.fromkeys([*sides[0], *sides[1]])}
