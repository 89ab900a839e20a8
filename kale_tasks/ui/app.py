"""The pages inside Airflow. Whoever may read the report Dag may read them; nothing here writes."""

import base64
import hashlib
import re
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import API_ROOT_PATH
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from airflow.models.dagrun import DagRun
from fastapi import Depends, FastAPI, HTTPException, Path, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from kale_tasks.lake.keys import ALL_KEYS
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.quality.html import render
from kale_tasks.quality.stored import list_reports, published_version, read_report
from kale_tasks.settings import load

_NOT_LOGGED_IN = 401
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
Name = Annotated[str, Path(max_length=80)]


def make_app() -> FastAPI:
    """Make the application that Airflow mounts."""
    dag = f"{load().settings.schedule.prefix}_quality_report"
    readers = [Depends(requires_authenticated()), Depends(requires_access_dag("GET", param_dag_id=dag))]
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=readers)
    app.add_exception_handler(HTTPException, _refused)  # type: ignore[arg-type]
    app.add_api_route("/", index, response_class=HTMLResponse)
    app.add_api_route("/report/{name}", report, response_class=HTMLResponse)
    app.add_api_route("/keys/{name}", lineage)
    of_a_run = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]
    app.add_api_route("/run/{dag_id}/{run_id:path}", of_run, dependencies=of_a_run)
    return app


async def _refused(request: Request, error: HTTPException) -> Response:
    """Send a browser that is not logged in to the login page, which leads back here; others get JSON."""
    if error.status_code != _NOT_LOGGED_IN or "text/html" not in request.headers.get("accept", ""):
        return await http_exception_handler(request, error)
    here = f"{request.url.path}?{request.url.query}".rstrip("?")
    return RedirectResponse(f"{API_ROOT_PATH}api/v2/auth/login?next={quote(here, safe='')}", 302)


def index(request: Request) -> Response:
    """List the reports of all keys and releases."""
    keys, releases = list_reports(_storage())
    published = published_version(_storage())
    html = render("index.html", keys=keys, releases=releases, published=published, root=_root(request))
    return page(html)


def report(name: Name, request: Request) -> Response:
    """Show a stored report."""
    if name.endswith(".json"):
        return report_json(name.removesuffix(".json"))
    if name == ALL_KEYS:  # the link of a task that works on all keys
        return index(request)
    found = read_report(_storage(), name, "html")
    if found is None:
        return page(render("absent.html", name=name, root=_root(request)), 404)
    return page(found.decode())


def report_json(name: Name) -> Response:
    """Return a stored report as JSON."""
    found = read_report(_storage(), name, "json")
    if found is None:
        raise HTTPException(404, "There is no such report.")
    return Response(found, media_type="application/json", headers=_GUARDS)


def lineage(name: Name, request: Request) -> Response:
    """Redirect to the lineage of a key: what is committed, and what it was made from."""
    return RedirectResponse(f"{_root(request)}/report/{quote(name)}#lineage")


def of_run(dag_id: str, run_id: str, request: Request, session: SessionDep) -> Response:
    """Redirect to the report on the key of a Dag run."""
    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if run is None:
        raise HTTPException(404, "There is no such run.")
    day = f"{run.logical_date:%Y-%m-%d}" if run.logical_date else ""
    key = run.partition_key or (run.conf or {}).get("key") or day
    if not key:
        return page(render("absent.html", name=run_id, root=_root(request)), 404)
    return RedirectResponse(f"{_root(request)}/report/{quote(key)}")


_CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
_GUARDS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "private, no-store"}


def page(html: str, status: int = 200) -> Response:
    """Answer with a page that may run no script and load nothing; its style is allowed by its hash."""
    style = _STYLE.search(html)
    digest = base64.b64encode(hashlib.sha256(style[1].encode() if style else b"").digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; {_CLOSED}"
    return HTMLResponse(html, status, headers={"Content-Security-Policy": policy, **_GUARDS})


@cache
def _storage() -> Storage:
    settings = load().settings
    return open_storage(settings.warehouse, settings.s3)


def _root(request: Request) -> Any:
    return request.scope["root_path"]
