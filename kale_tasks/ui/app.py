"""The pages inside Airflow: one application of all pages, and what they answer when something is wrong."""

import logging
from typing import Any
from urllib.parse import quote

import duckdb
from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response

from kale_tasks.errors import BadConfig, KaleError, Transient
from kale_tasks.quality import html
from kale_tasks.ui import (
    attempt,
    canary,
    captions,
    images,
    key,
    models,
    overview,
    quality,
    releases,
    reports,
    row,
    votes,
)
from kale_tasks.ui.answers import GUARDS, TEMPLATES, page
from kale_tasks.ui.site import Site
from kale_tasks.ui.turns import in_turn

_NOT_LOGGED_IN = 401
_HEADINGS = {403: "Not allowed", 404: "Not found", 422: "This address is not valid", 503: "Not reachable"}
_log = logging.getLogger(__name__)


def make_app(site: Site) -> FastAPI:
    """Make the application that Airflow mounts."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=list(site.access.dependencies))
    app.router.route_class = in_turn()
    for part in (overview, key, captions, row, votes, images, quality, models, releases, canary, attempt, reports):
        part.add(app, site)
    app.add_api_route("/kale.css", _style)
    _explain_errors(app, site)
    return app


def _style() -> Response:
    text = (html.TEMPLATES / "style.css").read_text("utf-8") + (TEMPLATES / "pages.css").read_text("utf-8")
    return Response(text, media_type="text/css", headers=GUARDS)


def _explain_errors(app: FastAPI, site: Site) -> None:
    """Show errors as pages. A browser that is not logged in is sent to the login, which leads back; others get JSON."""

    async def refused(request: Request, error: HTTPException) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return await http_exception_handler(request, error)
        if error.status_code == _NOT_LOGGED_IN:
            here = f"{request.url.path}?{request.url.query}".rstrip("?")
            return RedirectResponse(f"{_airflow_root()}api/v2/auth/login?next={quote(here, safe='')}", 302)
        return _problem(site, request, error.status_code, str(error.detail))

    def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = ", ".join(dict.fromkeys(str(one["loc"][-1]) for one in error.errors()))
        return _problem(site, request, 422, f"A part of the address or of the form is not valid: {wrong}.")

    def failed(request: Request, error: KaleError) -> Response:
        status = 503 if isinstance(error, Transient) else 404 if isinstance(error, BadConfig) else 409
        return _problem(site, request, status, str(error))

    def broken(request: Request, error: Exception) -> Response:
        _log.exception("The page %s could not be made.", request.url.path)
        what = f"It failed with {type(error).__name__}. The log of the API server says more."
        return _problem(site, request, 500, what)

    handlers: dict[Any, Any] = {HTTPException: refused, RequestValidationError: invalid, KaleError: failed}
    handlers |= dict.fromkeys((duckdb.Error, OSError, Exception), broken)
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _airflow_root() -> str:
    from airflow.api_fastapi.app import API_ROOT_PATH

    return str(API_ROOT_PATH)


def _problem(site: Site, request: Request, status: int, what: str) -> Response:
    heading = _HEADINGS.get(status, "This page cannot be shown")
    return page(site, request, "problem.html", status, here="", heading=heading, what=what)
