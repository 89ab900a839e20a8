"""The page that takes one picture through a recipe: an uploaded one, or that of a row. It runs `kale try`."""

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import Response

from kale_tasks.errors import BadConfig
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.shards import Span, read_image
from kale_tasks.process import command_environment, start_process, stop_process
from kale_tasks.quality.pictures import COLUMNS
from kale_tasks.recipes.files import recipes_of, shipped_recipes
from kale_tasks.text.origins import pieces
from kale_tasks.ui.answers import allow, page
from kale_tasks.ui.images import UID, row_of
from kale_tasks.ui.site import Opened, Site

_SECONDS = 300  # a recipe may load several models
_LARGEST = 20 << 20  # bytes of a picture
_SHOWN = 2 << 20  # bytes of a picture that is shown beside its result
_TYPES = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp", b"GI": "image/gif"}
_LONGEST = 4000  # characters of an alt-text
_turn = Lock()  # models need much memory: one attempt at a time
Short = Annotated[str, Form(max_length=80)]


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def ask(
        request: Request,
        key: Annotated[str, Query(max_length=64)] = "",
        uid: Annotated[str, Query(pattern=f"{UID}|^$")] = "",
    ) -> Response:
        opened = site.open()
        pair = next(iter(row_of(opened, "pairs", check_key(key), uid, ["alt_text"])), {}) if key and uid else {}
        return _page(site, request, opened, key=key, uid=uid, alt_text=(pair.get("alt_text") or "")[:_LONGEST])

    def run(  # noqa: PLR0913, PLR0917 - the fields of a form with a file
        request: Request,
        recipe: Short,
        alt_text: Annotated[str, Form(max_length=_LONGEST)] = "",
        engine: Short = "",
        key: Short = "",
        uid: Annotated[str, Form(pattern=f"{UID}|^$")] = "",
        picture: Annotated[UploadFile | None, File()] = None,
        token: Short = "",
    ) -> Response:
        allow(site, request, "captions", token)
        opened = site.open()
        if recipe not in _recipes(opened) or engine not in ("", "transformers"):
            raise HTTPException(422, "There is no such recipe or engine.")
        data = picture.file.read(_LARGEST + 1) if picture and picture.size else _stored(opened, key, uid)
        if len(data) > _LARGEST:
            raise HTTPException(413, f"The picture is larger than {_LARGEST >> 20} MB.")
        site.access.record(request, "try", {"recipe": recipe, "bytes": len(data)})
        if not _turn.acquire(blocking=False):
            raise HTTPException(503, "Somebody tries a picture right now. Try again in a minute.")
        try:
            made = _attempt(opened, data, alt_text, recipe, engine)
        finally:
            _turn.release()
        made["pieces"] = pieces(made.get("caption") or "", made.get("dense") or "", alt_text)
        kept = {"key": key, "uid": uid, "alt_text": alt_text, "recipe": recipe, "engine": engine}
        return _page(site, request, opened, made=made, picture=_data_uri(data), **kept)

    app.add_api_route("/try", ask)
    app.add_api_route("/try", run, methods=["POST"])


def _page(site: Site, request: Request, opened: Opened, **values: Any) -> Response:
    known = {"made": None, "picture": "", "recipe": opened.settings.caption.recipe, "engine": "", **values}
    return page(site, request, "try.html", here="try", recipes=_recipes(opened), **known)


def _recipes(opened: Opened) -> list[str]:
    """The configured recipes first, then those that come with KALE."""
    return list(dict.fromkeys([*recipes_of(opened.settings), *shipped_recipes()]))


def _stored(opened: Opened, key: str, uid: str) -> bytes:
    """The bytes of the image of a row; HTTPException if it has none."""
    rows = row_of(opened, "images", check_key(key), uid, COLUMNS) if key and uid else []
    if not rows or rows[0]["status"] != "ok":
        raise HTTPException(422, "Choose a picture, or a row with an image.")
    return read_image(opened.lake, *(rows[0][name] for name in Span._fields))


def _attempt(opened: Opened, data: bytes, alt_text: str, recipe: str, engine: str) -> dict[str, Any]:
    """Run `kale try` in a process of its own, which decodes the picture within limits."""
    sets = ["--set", f"caption.engine={engine}"] if engine else []
    with tempfile.TemporaryDirectory(prefix="kale-page-") as folder:
        path = Path(folder, "picture")
        path.write_bytes(data)
        options = ["--recipe", recipe, *sets, "--json"]
        # The text is behind `--`, so that it is never taken for an option.
        line = [sys.executable, "-m", "kale_tasks", "try", *options, "--", str(path), alt_text]
        environment = command_environment(opened.environment)
        process = start_process(line, environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            printed, said = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise BadConfig(f"The recipe took more than {_SECONDS} s. Try it with `kale try` in a terminal.") from error
        finally:
            stop_process(process)
    if process.returncode:
        last = (said.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise BadConfig(last.removeprefix("kale: "))
    found: dict[str, Any] = json.loads(printed.decode().strip().splitlines()[-1])
    return found


def _data_uri(data: bytes) -> str:
    kind = _TYPES.get(data[:2])
    if kind is None or len(data) > _SHOWN:
        return ""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
