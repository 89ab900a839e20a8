"""The stored reports, and where the links of Airflow's tasks and runs lead."""

import base64
import hashlib
from pathlib import Path as PathOf
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from kale_tasks.captions.steps import find_spec
from kale_tasks.explore.export import export
from kale_tasks.lake.keys import ALL_KEYS, check_key
from kale_tasks.quality.current import changed_keys, current_page
from kale_tasks.quality.failing import failing_rows
from kale_tasks.quality.html import render
from kale_tasks.quality.stored import list_reports, published_version, read_report
from kale_tasks.ui.answers import GUARDS
from kale_tasks.ui.site import Site

_CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_FAILING = 1_000  # rows listed for each check
Name = Annotated[str, Path(max_length=80)]


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def index(request: Request) -> Response:
        lake = site.open().lake
        keys, releases = list_reports(lake.storage)
        known = {"published": published_version(lake.storage), "changed": changed_keys(lake, keys)}
        return _report(render("index.html", keys=keys, releases=releases, root=_root(request), **known))

    def report(name: Name, request: Request) -> Response:
        if name.endswith(".json"):
            return report_json(name.removesuffix(".json"))
        if name == ALL_KEYS:  # the link of a task that works on all keys
            return index(request)
        found = current_page(site.open().lake, name, _root(request))
        if found is None:
            return _report(render("absent.html", name=name, root=_root(request)), 404)
        return _report(found)

    def report_json(name: Name) -> Response:
        found = read_report(site.open().lake.storage, name, "json")
        if found is None:
            raise HTTPException(404, "There is no such report.")
        return Response(found, media_type="application/json", headers=GUARDS)

    def failing(step: Name, name: Name) -> Response:
        """The rows that fail the checks of a step, as CSV."""
        opened, key = site.open(), check_key(name.removesuffix(".csv"))
        spec = find_spec(step, opened.settings)
        rows = failing_rows(opened.lake, opened.settings, spec.name, key, _FAILING)
        with TemporaryDirectory() as folder:
            export(rows.to_batches(), rows.schema, file := PathOf(folder, "failing.csv"))
            headers = {"Content-Disposition": f'attachment; filename="failing-{spec.label}-{key}.csv"', **GUARDS}
            return Response(file.read_bytes(), media_type="text/csv", headers=headers)

    def of_run(dag_id: str, run_id: str, request: Request) -> Response:
        key = site.access.key_of_run(request, dag_id, run_id)
        if key is None:
            raise HTTPException(404, "There is no such run.")
        if not key:
            return _report(render("absent.html", name=run_id, root=_root(request)), 404)
        reported = read_report(site.open().lake.storage, key, "summary.json") is not None
        return RedirectResponse(f"{_root(request)}/{'report' if reported else 'keys'}/{quote(key)}")

    app.add_api_route("/reports", index)
    app.add_api_route("/report/{name}", report)
    app.add_api_route("/failing/{step}/{name}", failing)
    app.add_api_route("/run/{dag_id}/{run_id:path}", of_run)


def _report(html: str, status: int = 200) -> Response:
    """Answer with a page that may run no script and load nothing; its style is allowed by its hash."""
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; {_CLOSED}"
    return HTMLResponse(html, status, headers={"Content-Security-Policy": policy, **GUARDS})


def _root(request: Request) -> str:
    return str(request.scope["root_path"])
