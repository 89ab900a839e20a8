"""The page of students: what they learnt from, how they were judged, and which one is in use."""

import json
from typing import Annotated

from fastapi import FastAPI, Form, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from kale_tasks.errors import BadData
from kale_tasks.lake.io_errors import reading
from kale_tasks.models import students
from kale_tasks.pending import pending_work
from kale_tasks.ui.answers import GUARDS, allow, back, page
from kale_tasks.ui.site import Site

_WHO = ("student", "teacher", "in_use")
Version = Annotated[str, PathParameter(pattern=r"^[0-9a-f]{16}$")]
Short = Annotated[str, Form(max_length=100)]
Why = Annotated[str, Form(min_length=1, max_length=500)]


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def models(request: Request) -> Response:
        opened = site.open()
        found = students.versions(opened.lake) if "models" in opened.lake.tables() else []
        recipes = sorted({student.recipe for student in found})
        past = {recipe: students.history(opened.lake, recipe) for recipe in recipes}
        return page(
            site,
            request,
            "models.html",
            here="models",
            students=found[::-1],
            judged={one.version: _judged(one) for one in found},
            history=past,
            in_use={entries[-1].version for entries in past.values() if entries},
            due={name: one["distill"] for name, one in pending_work(opened.lake, opened.settings)["recipes"].items()},
        )

    def curve(version: Version) -> Response:
        lake = site.open().lake
        if version not in {one.version for one in students.versions(lake)}:
            raise HTTPException(404, "There is no such student.")
        try:
            with reading("student", version):
                drawn = lake.storage.read(f"{students.student_path(version)}/loss.svg")
        except (FileNotFoundError, BadData) as error:
            raise HTTPException(404, "This student has no loss curve.") from error
        policy = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}
        return Response(drawn, media_type="image/svg+xml", headers={**GUARDS, **policy})

    def promote(version: Version, request: Request, why: Why, refused: Short = "", token: Short = "") -> Response:
        allow(site, request, "models", token)
        said = f"{why} ({site.access.name(request)})"
        students.promote(site.open().lake, version, said, refused=bool(refused))
        site.access.record(request, "promote", {"student": version, "why": why, "refused": bool(refused)})
        return back(site, request, "/models", f"Student {version} is in use for stage 2 of all later runs.")

    def rollback(request: Request, recipe: Short, why: Why, token: Short = "") -> Response:
        allow(site, request, "models", token)
        entry = students.rollback(site.open().lake, recipe, f"{why} ({site.access.name(request)})")
        site.access.record(request, "rollback", {"recipe": recipe, "student": entry.version, "why": why})
        return back(site, request, "/models", f"Student {entry.version} is in use again.")

    app.add_api_route("/models", models)
    app.add_api_route("/models/{version}/loss.svg", curve)
    app.add_api_route("/models/{version}/promote", promote, methods=["POST"])
    app.add_api_route("/models/rollback", rollback, methods=["POST"])


def _judged(student: students.Student) -> dict[str, list[float | str | None]]:
    """Figures by name: those of the student, of its teacher, and of the student that was in use then."""
    sides = [student.metrics.get(who) or {} for who in _WHO]
    names = dict.fromkeys(name for side in sides for name in side)
    return {name: [_figure(side.get(name)) for side in sides] for name in names}


def _figure(value: object) -> float | str | None:
    return value if isinstance(value, int | float) or value is None else json.dumps(value)[:60]
