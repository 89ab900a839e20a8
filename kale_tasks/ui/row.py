"""The page of a row: its image, its texts side by side, where it came from, and what people say of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from kale_tasks.contract.registry import spec_of
from kale_tasks.lake import reviews, tombstones
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.reviews import EDIT, REPORT, SENTENCE, Review
from kale_tasks.text.origins import Piece, pieces
from kale_tasks.text.sentences import sentences
from kale_tasks.ui.answers import allow, back, page
from kale_tasks.ui.images import Uid, row_of
from kale_tasks.ui.site import Opened, Site

_PATH = "/rows/{key}/{uid}"
_TABLES = ("pairs", "images", "texts", "captions", "quarantine")
_LONGEST = 20_000  # characters of a text that are shown
_DIVIDED = 4000  # longer captions are not coloured, and not judged sentence by sentence
_SENTENCES = 40
VERDICTS = ("right", "wrong", "unsure")
Short = Annotated[str, Form(max_length=80)]


class Judged(BaseModel):
    """What every form about a caption says: which text it is about, as it was shown."""

    side: Annotated[str, Field(max_length=80)]
    of: Annotated[str, Field(max_length=80)]
    token: Annotated[str, Field(max_length=80)] = ""


class Verdicts(Judged):
    """Verdicts on the sentences of a caption, in their order."""

    verdict: Annotated[list[str], Field(max_length=_SENTENCES)]


class Edited(Judged):
    """A caption as it should be."""

    text: Annotated[str, Field(max_length=20_000)]


@dataclass(frozen=True)
class Shown:
    """A caption as the page shows it."""

    side: str
    recipe: str
    stage: int
    dense: str
    text: str
    pieces: Sequence[Piece]
    sentences: Sequence[str]
    of: str
    facts: Mapping[str, Any]
    more: Mapping[str, Any]  # models, engine, tokens


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def row(key: str, uid: Uid, request: Request) -> Response:
        opened = site.look()
        found = {table: row_of(opened, table, check_key(key), uid) for table in _TABLES}
        if not any(found.values()):
            raise HTTPException(404, f"{key} has no row of this uid. It may have been dropped, or taken down.")
        pair = next(iter(found["pairs"]), {})
        said = reviews.read(opened.lake, key, uid=uid).sort_by([("at", "descending")]).to_pylist()
        return page(
            site,
            request,
            "row.html",
            here="captions",
            key=key,
            uid=uid,
            pair=_plain(pair),
            image=_plain(next(iter(found["images"]), {})),
            captions=[_shown(one, pair) for one in found["captions"]],
            texts=_by_pass(found["texts"]),
            quarantined=found["quarantine"],
            lineage=_lineage(opened, key, found),
            reviews=said,
            verdicts=VERDICTS,
        )

    app.add_api_route(_PATH, row)
    _add_reviews(app, site)
    _add_takedown(app, site)


def _add_reviews(app: FastAPI, site: Site) -> None:
    """Verdicts on sentences, edits and reports."""

    def judge(key: str, uid: Uid, request: Request, given: Annotated[Verdicts, Form()]) -> Response:
        allow(site, request, "review", given.token)
        by, side, of = site.access.name(request), given.side, given.of
        _require(site.open(), key, uid, side, of)
        known = [(n, value) for n, value in enumerate(given.verdict) if value in VERDICTS]
        found = [Review(uid, key, SENTENCE, by, side, sentence=n, value=value, of=of) for n, value in known]
        return _store(site, request, key, found, f"{len(found)} verdicts are stored.")

    def edit(key: str, uid: Uid, request: Request, given: Annotated[Edited, Form()]) -> Response:
        allow(site, request, "review", given.token)
        text = given.text.strip()
        if _require(site.open(), key, uid, given.side, given.of) == text or not text:
            raise HTTPException(422, "The text is as it was. Nothing was stored.")
        one = Review(uid, key, EDIT, site.access.name(request), given.side, text=text, of=given.of)
        return _store(site, request, key, [one], "Stored.")

    def report(
        key: str, uid: Uid, request: Request, why: Annotated[str, Form(max_length=500)], token: Short = ""
    ) -> Response:
        allow(site, request, "report", token)
        if not row_of(site.open(), "pairs", check_key(key), uid, ["uid"]):
            raise HTTPException(404, f"{key} has no row of this uid.")
        one = Review(uid, key, REPORT, site.access.name(request), text=why.strip())
        return _store(site, request, key, [one], "Reported. Who may take rows down sees it on the page of quality.")

    app.add_api_route(f"{_PATH}/verdicts", judge, methods=["POST"])
    app.add_api_route(f"{_PATH}/edit", edit, methods=["POST"])
    app.add_api_route(f"{_PATH}/report", report, methods=["POST"])


def _add_takedown(app: FastAPI, site: Site) -> None:
    def take_down(key: str, uid: Uid, request: Request, copies: Short = "", token: Short = "") -> Response:
        allow(site, request, "takedown", token)
        lake = site.open().lake
        pair = next(iter(row_of(site.open(), "pairs", check_key(key), uid, ["uid", "url"])), None)
        image = next(iter(row_of(site.open(), "images", key, uid, ["sha256"])), {})
        if pair is None:
            raise HTTPException(404, f"{key} has no row of this uid.")
        wanted = {"uid": [uid]}
        if copies:
            wanted |= {"url": [pair["url"]]} if pair["url"] else {}
            wanted |= {"sha256": [image["sha256"]]} if image.get("sha256") else {}
        run = site.access.start(request, "takedown", "", {"list": tombstones.put_request(lake, wanted)})
        site.access.record(request, "takedown", {"key": key, "run": run})  # not the uid: the log outlives the row
        return back(
            site, request, f"/rows/{quote(key)}/{uid}", f"Airflow has started {run}. The row is gone when it ends."
        )

    app.add_api_route(f"{_PATH}/takedown", take_down, methods=["POST"])


def _store(site: Site, request: Request, key: str, found: Sequence[Review], said: str) -> Response:
    reviews.add(site.open().lake, key, found)
    uid, kinds = request.path_params["uid"], sorted({one.kind for one in found})
    site.access.record(request, "review", {"key": key, "uid": uid, "kinds": kinds, "number": len(found)})
    return back(site, request, f"/rows/{quote(key)}/{uid}", said)


def _require(opened: Opened, key: str, uid: str, side: str, of: str) -> str:
    """Return the caption that was judged; HTTPException if it is another one by now."""
    for row in row_of(opened, "captions", check_key(key), uid, ["recipe", "stage", "caption"]):
        text = str(row["caption"] or "")
        if f"{row['recipe']}/{row['stage']}" == side and reviews.hash_of(text) == of:
            return text
    raise HTTPException(409, "The caption has changed since it was shown. Nothing was stored; judge it again.")


def _shown(row: Mapping[str, Any], pair: Mapping[str, Any]) -> Shown:
    text, dense = row["caption"] or "", row["dense_caption"] or ""
    whole = len(text) <= _DIVIDED
    facts = ("facts", "facts_from_alt", "facts_from_dense", "facts_invented", "flags", "confidence")
    more = ("models", "engine", "tokens_in", "tokens_out", "finish_reason", "candidates", "experts", "also")
    return Shown(
        side=f"{row['recipe']}/{row['stage']}",
        recipe=row["recipe"],
        stage=row["stage"],
        dense=_cut(dense),
        text=_cut(text),
        pieces=pieces(text, dense, pair.get("alt_text") or "") if whole else [Piece(_cut(text))],
        sentences=sentences(text)[:_SENTENCES] if whole else [],
        of=reviews.hash_of(text),
        facts={name: row[name] for name in facts if row[name] is not None and row[name] != []},
        more={name: _cut(str(row[name])) for name in more if row[name]},
    )


def _by_pass(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The texts of passes, by the label of the pass."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["pass"], row["item"], row["n"])):
        known = {**row, "text": _cut(row["text"] or ""), "data": _cut(row["data"] or "")}
        found.setdefault(str(row["pass"]), []).append(known)
    return found


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that have a value, as text."""
    plain = {n: v for n, v in row.items() if v not in (None, "", []) and n not in ("uid", "key")}
    return {name: _cut(json.dumps(v) if isinstance(v, list) else str(v)) for name, v in plain.items()}


def _lineage(opened: Opened, key: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The committed runs that made the row, table by table."""
    rows = []
    for table in ("pairs", "images", "texts", "captions"):
        names = {"texts": ("pass",), "captions": ("recipe", "stage")}.get(table, ())
        slices = {tuple((name, row[name]) for name in names) for row in found[table]}
        for slice_ in sorted(slices):
            partition = Partition(table, key, slice_)
            if committed := opened.lake.committed(table, key, dict(slice_)):
                spec = spec_of(partition)
                step = spec.label if spec else table
                rows.append({"step": step, "table": table, "name": partition.name, "committed": committed})
    return rows


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"
