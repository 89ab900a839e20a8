"""Makes the answers of pages: rendered templates with a strict policy, redirects, and protection of actions."""

import hashlib
import hmac
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from kale_tasks.charts import bars, course
from kale_tasks.quality import html
from kale_tasks.templates import open_templates
from kale_tasks.ui.site import Site

TEMPLATES = Path(__file__).with_name("templates")
NAVIGATION = {
    "overview": ("/", "Overview"),
    "captions": ("/captions", "Captions"),
    "quality": ("/quality", "Quality"),
    "models": ("/models", "Models"),
    "releases": ("/releases", "Releases"),
    "canary": ("/canary", "Canary"),
    "try": ("/try", "Try a picture"),
}
_CLOSED = "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
_POLICY = f"default-src 'none'; img-src 'self' data:; style-src 'self'; {_CLOSED}"
GUARDS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "private, no-store"}
_FORBIDDEN = 403


def page(site: Site, request: Request, template: str, code: int = 200, **values: Any) -> Response:
    """Answer with a page that may load only our stylesheet and images of the lake, and run no script."""
    environment = open_templates(TEMPLATES, html.TEMPLATES)
    environment.globals |= {"bars": bars, "course": course, "navigation": NAVIGATION, "url": url}
    environment.filters |= html.FILTERS
    known = {"root": request.scope["root_path"], "token": token(site, request), "may": _Rights(site, request)}
    text = environment.get_template(template).render(said=_said(site, request), **known, **values)
    return HTMLResponse(text, code, headers={"Content-Security-Policy": _POLICY, **GUARDS})


def url(path: str, **values: Any) -> str:
    """Return a path with parameters, without those that are empty."""
    given = {name: value for name, value in values.items() if value not in ("", None, False)}
    return f"{path}?{urlencode(given)}" if given else path


def back(site: Site, request: Request, path: str, said: str) -> Response:
    """Send the browser to a page after an action. The page shows what was done, as it is signed for this session."""
    root, mark = request.scope["root_path"], "&" if "?" in path else "?"
    return RedirectResponse(f"{root}{path}{mark}{urlencode({'said': said, 'seal': _seal(site, request, said)})}", 303)


def _said(site: Site, request: Request) -> str:
    """What the action before this page did; nothing if somebody else wrote it into the address."""
    said, seal = (request.query_params.get(name, "") for name in ("said", "seal"))
    return said if hmac.compare_digest(seal.encode(), _seal(site, request, said).encode()) else ""


def _seal(site: Site, request: Request, said: str) -> str:
    return hmac.new(token(site, request).encode(), said.encode(), hashlib.sha256).hexdigest()[:16]


def token(site: Site, request: Request) -> str:
    """The value that a form must send back: only pages that this person was shown contain it."""
    credential = site.access.credential(request) or ""
    return hmac.new(credential.encode(), b"kale-form", hashlib.sha256).hexdigest()


def allow(site: Site, request: Request, action: str, given: str) -> None:
    """Raise HTTPException unless the person may do an action, and the form was one of our pages."""
    if not site.access.may(request, action):
        raise HTTPException(_FORBIDDEN, "You may read these pages, but you have no right to do this.")
    if site.access.credential(request) is None:
        return  # the browser did not send the credential by itself
    if not _is_ours(request) or not hmac.compare_digest(token(site, request).encode(), given.encode()):
        raise HTTPException(_FORBIDDEN, "This form is too old, or of another site. Load the page again.")


def _is_ours(request: Request) -> bool:
    """Whether a page of this site sent the form. Browsers say so; over plain HTTP they name the origin only."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


class _Rights:
    """Asked by templates: whether a button is shown."""

    def __init__(self, site: Site, request: Request) -> None:
        self._site, self._request = site, request

    def __call__(self, action: str) -> bool:
        return self._site.access.may(self._request, action)
