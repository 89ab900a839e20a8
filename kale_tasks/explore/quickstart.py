"""`kale quickstart`: from a folder or a file of pictures to captions and a page, without Airflow, Hub or GPU."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from kale_tasks.errors import BadConfig
from kale_tasks.explore.export import export
from kale_tasks.explore.look import alt_fits, look, write_page
from kale_tasks.explore.pictures import land
from kale_tasks.explore.served import Served, find_server, missing_experts, of_server, without_models, write_recipe
from kale_tasks.explore.workbench import Ran, Workbench, own_settings
from kale_tasks.lake.schemas import TABLES
from kale_tasks.progress import Progress
from kale_tasks.quality.report import make_report
from kale_tasks.quality.stored import report_path
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import Settings

_RECIPE = "quickstart.yaml"
_ON_PAGE = 200  # pictures
_LEAST = 3  # alt-texts that are named because they fit their picture least


class Asked(NamedTuple):
    """The server to ask (empty: none), its model (empty: the only one), and the recipe whose prompts it gets."""

    server: str = ""
    model: str = ""
    recipe: str = "kale"


@dataclass
class Outcome:
    """What a quick start made: rows by step, files, and what is missing for more."""

    key: str
    pictures: int
    recipe: str
    server: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    captions: str = ""
    page: str = ""
    report: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    fit_least: list[dict[str, Any]] = field(default_factory=list)  # alt-texts that fit their picture least
    environment: dict[str, str] = field(default_factory=dict)  # for further commands on this lake


def quickstart(
    source: Path,
    folder: Path,
    asked: Asked,
    *,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    ran: Callable[[Ran], None] = lambda _: None,
) -> Outcome:
    """Run every step that can run on a person's pictures, and write captions, a page and the report.

    `ran` is called after each step. Without a server there are no captions, but all that the installed experts find.
    """
    recipe = folder / _RECIPE
    if folder.is_dir() and any(folder.iterdir()) and not recipe.exists():
        raise BadConfig(f"{folder} has files of something else. Name a new folder with --folder.")
    settings = own_settings(folder, overrides)
    served = find_server(asked.server, asked.model, settings.caption) if asked.server else None
    names = write_recipe(recipe, asked.recipe, served)
    settings, key = of_server(settings, recipe, names, served.url if served else ""), key_of(source)
    outcome = Outcome(key, land(settings, source, key), str(recipe), server=served.url if served else "")
    bench = Workbench(settings, key, progress)
    passes = None if served else list(without_models(load_recipe(str(recipe)).passes))
    for spec in (*bench.first_steps(), *bench.passes(passes)):
        done = bench.run(spec)
        outcome.steps.append(as_json(done))
        ran(done)
    outcome.missing = missing_experts()
    _write_results(bench, outcome, folder, captioned=served is not None)
    outcome.environment = _environment(settings, served)
    return outcome


def key_of(source: Path) -> str:
    """The key under which a source is kept: its name, as far as a key may have it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", source.resolve().stem).strip("-_")[:60] or "pictures"


def as_json(ran: Ran) -> dict[str, Any]:
    """A step that has run, for machines."""
    of = ran.committed
    return {
        "step": ran.spec.label,
        "rows_in": of.rows_in,
        "rows": of.rows,
        "dropped": dict(of.dropped),
        "quarantined": of.quarantined,
        "seconds": round(ran.seconds, 2),
    }


def _write_results(bench: Workbench, outcome: Outcome, folder: Path, *, captioned: bool) -> None:
    lake, key = bench.lake, bench.key
    if captioned:
        place = folder / f"{key}.jsonl"
        export(lake.batches("captions", key), TABLES["captions"].arrow, place)
        outcome.captions = str(place)
    page, seen = folder / f"{key}.html", look(lake, bench.settings, key, _ON_PAGE)
    fits, texts = alt_fits(seen), {one.uid: one.alt_text for one in seen}
    for one in seen:
        if one.uid in fits:
            one.found["alt-text fits"] = [f"{fits[one.uid]:.2f}"]
    outcome.fit_least = [{"uid": u, "alt_text": texts[u], "score": fits[u]} for u in list(fits)[:_LEAST]]
    write_page(page, key, seen)
    make_report(lake, bench.settings, key)
    outcome.page, outcome.report = str(page), lake.storage.uri(report_path(key, "html"))


def _environment(settings: Settings, served: Served | None) -> dict[str, str]:
    known = {
        "KALE_PROFILE": "own",
        "KALE_LANDING": settings.landing,
        "KALE_WAREHOUSE": settings.warehouse,
        "KALE_CAPTION__RECIPE": settings.caption.recipe,
    }
    urls = settings.caption.endpoints.models
    return known | ({"KALE_CAPTION__ENDPOINTS__MODELS": str(urls).replace("'", "")} if served else {})
