"""Images of the lake, for the pages: small, decoded and encoded again, so that nothing but pixels is passed on."""

import io
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query
from fastapi import Path as PathParameter
from fastapi.responses import Response

from kale_tasks.lake.keys import check_key
from kale_tasks.lake.listing import DataFile
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.snapshot import may_have
from kale_tasks.quality.pictures import COLUMNS, picture
from kale_tasks.ui.answers import GUARDS
from kale_tasks.ui.site import Opened, Site

UID = r"^[0-9a-f]{32}$"
Uid = Annotated[str, PathParameter(pattern=UID)]
_LONGEST, _SMALL = 1024, 240  # pixels of a side: at most, and of pictures that are kept
_KEPT = 300.0  # seconds
_NONE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 150"><rect width="200" height="150" fill="#8884"/>'
    b'<text x="100" y="80" font-family="sans-serif" font-size="14" fill="#888" text-anchor="middle">no image</text>'
    b"</svg>"
)


def add(app: FastAPI, site: Site) -> None:
    """Add the route."""

    def image(key: str, uid: Uid, size: Annotated[int, Query(ge=16, le=_LONGEST)] = 240) -> Response:
        opened = site.look()
        # A committed file never changes: what it says of a picture, and the picture, are the same again.
        name = _files_of(opened, "images", check_key(key), uid), uid, size
        made = partial(_jpeg, opened, key, uid, size)
        try:
            found = site.pictures.get(name, _KEPT, made) if size <= _SMALL else made()
        except _NoPicture:
            return Response(_NONE, media_type="image/svg+xml", headers={"Content-Security-Policy": "sandbox", **GUARDS})
        return Response(found, media_type="image/jpeg", headers=GUARDS)

    app.add_api_route("/images/{key}/{uid}", image)


class _NoPicture(Exception):
    """An image was not fetched, or its file is missing or damaged."""


def _jpeg(opened: Opened, key: str, uid: str, size: int) -> bytes:
    rows = row_of(opened, "images", key, uid, COLUMNS)
    if not rows:
        raise HTTPException(404, "There is no such image.")
    found = picture(opened.lake, rows[0])
    if found is None:
        raise _NoPicture
    found.thumbnail((size, size))
    out = io.BytesIO()
    found.save(out, "JPEG", quality=85)
    return out.getvalue()


def row_of(opened: Opened, table: str, key: str, uid: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a pair in a table. Only the row groups that may have it are read, and no vector unless asked for."""
    files = _files_of(opened, table, key, uid)
    if not files:
        return []
    known = columns or [name for name in TABLES[table].arrow.names if name != "vector"]
    names = ", ".join(f'"{name}"' for name in known)
    return opened.rows.ask(f"SELECT {names} FROM found WHERE uid = $uid", {"uid": uid}, {"found": (table, files)})


def _files_of(opened: Opened, table: str, key: str, uid: str) -> tuple[DataFile, ...]:
    return tuple(file for file in opened.rows.files(table, key) if may_have(file, uid, uid))
