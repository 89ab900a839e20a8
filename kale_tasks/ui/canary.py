"""The page of canaries: another recipe on a share of a key, beside the captions that it has; applied or dropped."""

from typing import Annotated, Literal

from fastapi import FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from kale_tasks.errors import KaleError
from kale_tasks.explore import canary
from kale_tasks.lake.keys import check_key
from kale_tasks.recipes.files import shipped_recipes
from kale_tasks.text.origins import pieces
from kale_tasks.ui.answers import allow, back, page
from kale_tasks.ui.site import Site

_KEPT = 60.0  # seconds that a comparison is kept
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,29}$")]


class Started(BaseModel):
    """The form of a new canary."""

    key: Annotated[str, Field(max_length=64)]
    recipe: Annotated[str, Field(max_length=64)]
    engine: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,29})?$")] = ""
    share: Annotated[float, Field(gt=0, le=1)] = 0.01
    name: Name = "canary"
    token: Annotated[str, Field(max_length=80)] = ""


class Ended(BaseModel):
    """The form that applies or drops a canary."""

    name: Name
    action: Literal["apply", "drop"]
    token: Annotated[str, Field(max_length=80)] = ""


def add(app: FastAPI, site: Site) -> None:
    """Add the routes."""

    def show(request: Request, name: Annotated[str, Query(max_length=30)] = "") -> Response:
        opened = site.open()
        known = canary.canaries(opened.lake)
        one = next((one for one in known if one.name == name), known[0] if known else None)
        compared, problem = None, ""
        if one:
            try:
                compared = site.remember(("canary", one), _KEPT, lambda: canary.compare(opened.lake, one))
            except KaleError as error:
                problem = str(error)
        return page(
            site,
            request,
            "canary.html",
            here="canary",
            canaries=known,
            one=one,
            compared=compared,
            problem=problem,
            pieces=pieces,
            keys=opened.lake.keys("images")[::-1] if "images" in opened.lake.tables() else [],
            recipes=shipped_recipes(),
            recipe=opened.settings.caption.recipe,
            running=[run for run in site.access.active() if run.dag == "canary"],
        )

    def start(request: Request, given: Annotated[Started, Form()]) -> Response:
        allow(site, request, "canary", given.token)
        if given.recipe not in shipped_recipes():
            raise HTTPException(422, "There is no recipe of this name in config/recipes.")
        conf = {"action": "start", **given.model_dump(exclude={"token"}), "engine": given.engine or None}
        return _ask(site, request, {**conf, "key": check_key(given.key)}, "The comparison is here when it ends.")

    def end(request: Request, given: Annotated[Ended, Form()]) -> Response:
        allow(site, request, "canary", given.token)
        found = canary.find(site.open().lake, given.name)
        done = "its key is captioned with it" if given.action == "apply" else "it is deleted"
        return _ask(site, request, {"action": given.action, "name": found.name, "key": found.key}, f"Then {done}.")

    app.add_api_route("/canary", show)
    app.add_api_route("/canary/start", start, methods=["POST"])
    app.add_api_route("/canary/end", end, methods=["POST"])


def _ask(site: Site, request: Request, conf: dict[str, object], then: str) -> Response:
    run = site.access.start(request, "canary", "", conf)
    site.access.record(request, "canary", {"run": run, **conf})
    return back(site, request, "/canary", f"Airflow has started {run}. {then}")
