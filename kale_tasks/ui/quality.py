"""The page of quality: checks and their figures over keys, rows that were taken out, and rows that people report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
from fastapi import FastAPI, Request
from fastapi.responses import Response

from kale_tasks.captions.steps import all_steps
from kale_tasks.contract.registry import StepSpec
from kale_tasks.lake import reviews
from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.view import LakeView
from kale_tasks.quality import verdict
from kale_tasks.quality.verdict import CheckResult
from kale_tasks.resources import sql
from kale_tasks.ui.answers import page
from kale_tasks.ui.site import Opened, Site

_KEYS = 30  # the latest
_KEPT = 15.0
_REPORTS = 50


def add(app: FastAPI, site: Site) -> None:
    """Add the route."""

    def quality(request: Request) -> Response:
        opened = site.open()
        board = site.remember("quality", _KEPT, lambda: _board(opened))
        return page(site, request, "quality.html", here="quality", reports=_reports(opened), **board)

    app.add_api_route("/quality", quality)


def _board(opened: Opened) -> dict[str, Any]:
    view = LakeView(opened.lake)
    specs = {_name(spec): spec for spec in all_steps(opened.settings) if spec.suite}
    keys = sorted({key for spec in specs.values() for key in view.keys(spec.table)} - {ALL_KEYS})[-_KEYS:]
    found = {name: _results(view, spec, keys) for name, spec in specs.items()}
    results = {name: by_key for name, by_key in found.items() if by_key}
    return {
        "keys": keys[::-1],
        "results": results,
        "figures": {name: values for step, one in results.items() for name, values in _figures(step, specs[step], one)},
        "taken": [*_taken(opened, "quarantine", keys), *_taken(opened, "images", keys)],
    }


def _name(spec: StepSpec) -> str:
    return f"{spec.label} ({spec.recipe})" if spec.recipe else spec.label


def _results(view: LakeView, spec: StepSpec, keys: Sequence[str]) -> dict[str, CheckResult]:
    """The verdicts on the committed rows of a step, by key."""
    committed = {key: one for key in keys if (one := view.committed(spec.table, key, spec.slice))}
    read = {key: verdict.read(view.storage, one.seal_id) for key, one in committed.items()}
    return {key: one for key, one in read.items() if one}


def _figures(
    step: str, spec: StepSpec, results: Mapping[str, CheckResult]
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """The watched figures of a step over keys, and every drift that was measured."""
    drifts = {figure for one in results.values() for figure in one.figures if figure.endswith(("_psi", "_shift"))}
    for figure in (*spec.watched, *sorted(drifts)):
        values = {key: one.figures.get(figure) for key, one in results.items()}
        if any(value is not None for value in values.values()):
            yield f"{step}: {figure}", values


def _taken(opened: Opened, table: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    files = [file for key in keys for file in opened.rows.files(table, key)]
    query = sql("pages/quarantine" if table == "quarantine" else "pages/failed_images")
    return opened.rows.ask(query, {}, {table: (table, files)})


def _reports(opened: Opened) -> list[dict[str, Any]]:
    """The rows that people have reported, the latest first."""
    rows = reviews.read(opened.lake)
    rows = rows.filter(pc.equal(rows["kind"], reviews.REPORT)).sort_by([("at", "descending")])
    found: list[dict[str, Any]] = rows.slice(0, _REPORTS).to_pylist()
    return found
