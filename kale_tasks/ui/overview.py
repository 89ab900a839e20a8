"""The first page: every key in every step, how figures went over keys, and what needs a person."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from kale_tasks.contract.registry import spec_of
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.verdicts import blocked_runs, read_acceptance, read_verdict
from kale_tasks.lake.view import LakeView
from kale_tasks.models import students
from kale_tasks.pending import pending_work
from kale_tasks.quality.stored import list_reports, published_version
from kale_tasks.recipes.files import recipe_name, recipes_of
from kale_tasks.resources import sql
from kale_tasks.status import all_keys, states_of
from kale_tasks.ui.access import ActiveRun
from kale_tasks.ui.answers import page
from kale_tasks.ui.site import Opened, Site

_KEYS = 30  # rows of the matrix on a page
_KEPT = 15.0  # seconds that the matrix is kept
# Steps that the runs of a Dag make, by the Dag's name without the prefix.
_MAKES: Mapping[str, Sequence[str]] = {
    "ingest": ["ingest"],
    "images": ["images"],
    "stage1": ["texts", "fuse"],
    "stage2": ["student"],
    "distill": ["distill"],
    "release": ["release"],
}


@dataclass(frozen=True)
class Need:
    """Something that waits for a person, and the page where it is decided."""

    what: str
    why: str
    path: str


def add(app: FastAPI, site: Site) -> None:
    """Add the route."""

    def overview(request: Request, before: str = "") -> Response:
        opened = site.open()
        board = site.remember(("board", before[:64]), _KEPT, lambda: _board(site, opened, before))
        return page(site, request, "overview.html", here="overview", **board)

    app.add_api_route("/", overview)


def _board(site: Site, opened: Opened, before: str) -> dict[str, Any]:
    lake, settings = opened.lake, opened.settings
    view = LakeView(lake)
    every = [key for key in all_keys(view, settings) if key != ALL_KEYS]
    earlier = [key for key in every if not before or key < before]
    keys = earlier[-_KEYS:]
    running = site.access.active()
    cells = [_cell(view, one, running) for one in states_of(view, lake, settings, [*keys, ALL_KEYS])]
    columns = dict.fromkeys(cell["column"] for cell in cells if cell["step"] not in ("distill", "release"))
    reports, _ = list_reports(lake.storage)
    of_keys = {one.title: one.summary for one in reversed(reports) if one.title in keys}
    return {
        "columns": list(columns),
        "matrix": {key: {c["column"]: c for c in cells if c["key"] == key} for key in reversed(keys)},
        "older": keys[0] if len(earlier) > _KEYS else "",
        "total": len(every),
        "whole": [cell for cell in cells if cell["key"] == ALL_KEYS],
        "quality": {key: one.get("facts_invented_share") for key, one in of_keys.items()},
        "captions": {key: one.get("captions") for key, one in of_keys.items()},
        "effort": _effort(opened, keys),
        "students": {name: students.promoted(lake, name) for name in map(recipe_name, recipes_of(settings))},
        "published": published_version(lake.storage),
        "needs": list(_needs(opened)),
    }


def _cell(view: LakeView, cell: dict[str, Any], running: Sequence[ActiveRun]) -> dict[str, Any]:
    """Add whether a run is at work and what the checks say; name the column by step and recipe."""
    dags = {run.dag for run in running if run.key == cell["key"] or cell["key"] == ALL_KEYS}
    works = any(_is_made_by(cell, dag) for dag in dags)
    state = "running" if works and cell["state"] in ("missing", "stale") else cell["state"]
    recipe = f" ({cell['recipe']})" if cell["recipe"] else ""
    return {**cell, "state": state, "column": f"{cell['step']}{recipe}", "checks": _checks(view, cell)}


def _is_made_by(cell: Mapping[str, Any], dag: str) -> bool:
    """Whether runs of a Dag make the rows of a step. A Dag of one recipe has its name behind its own."""
    name = next((one for one in _MAKES if dag == one or dag.startswith(f"{one}_")), "")
    recipe = dag.removeprefix(name).removeprefix("_")
    plain = ("ingest", "images", "fuse", "student", "distill", "release")
    step = cell["step"] if cell["step"] in plain else "texts"
    return step in _MAKES.get(name, ()) and recipe in ("", cell["recipe"])


def _checks(view: LakeView, cell: Mapping[str, Any]) -> str:
    """The status of the checks of a committed run; empty if it has none."""
    if not cell["fingerprint"] or cell["state"] in ("missing", "blocked"):
        return ""
    seal_id = next((c.seal_id for p, c in _partitions(view, cell) if c.fingerprint == cell["fingerprint"]), "")
    found = read_verdict(view.storage, seal_id)
    if found is None:
        return ""
    accepted = found["status"] == "failed" and read_acceptance(view.storage, seal_id)
    return "accepted" if accepted else str(found["status"])


def _partitions(view: LakeView, cell: Mapping[str, Any]) -> Iterator[tuple[Partition, Any]]:
    for table in ("pairs", "images", "texts", "captions"):
        yield from ((p, c) for p, c in view.partitions(table).items() if p.key == cell["key"])


def _effort(opened: Opened, keys: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """What was spent on each key, from the ledger: rows a second, CPU hours and money."""
    files = [file for key in keys for file in opened.rows.files("runs", key)]
    rows = opened.rows.ask(sql("pages/effort"), {}, {"runs": ("runs", files)})
    return {name: {row["key"]: row[name] for row in rows} for name in ("rows_per_second", "cpu_hours", "cost")}


def _needs(opened: Opened) -> Iterator[Need]:
    lake = opened.lake
    for partition, run in blocked_runs(lake).items():
        spec = spec_of(partition)
        failed = "; ".join(run.failed)
        yield Need(f"{partition.key}: {spec.label if spec else run.step} is blocked", failed, f"/keys/{run.key}#checks")
    pending = pending_work(lake, opened.settings)
    for recipe, lacks in pending["recipes"].items():
        if lacks["distill"]["ready"]:
            rows = lacks["distill"]["new_rows"]
            yield Need(f"A student of {recipe} is due", f"{rows:,} new captions", "/models")
    if pending["release"]:
        yield Need("Captions are in no release", ", ".join(pending["release"][:8]), "/releases")
