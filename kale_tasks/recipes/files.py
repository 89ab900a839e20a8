"""The files of recipes: where they are, and what Dags need to know of them. Light to import."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kale_tasks.errors import BadConfig
from kale_tasks.resources import parse_yaml, resource
from kale_tasks.settings.model import Settings

HOLDOUT, AGAIN, SAMPLED = "holdout", "again", "sampled"
VARIANTS = {
    HOLDOUT: "the recipe on the images that no model is trained on",
    AGAIN: "the same at another seed",
    SAMPLED: "the recipe on a share of the images of stage 2",
}
JUDGED_BY = (HOLDOUT, AGAIN)  # variants whose captions are those that students are judged by
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class PassOutline(NamedTuple):
    """The name of a pass, whether it asks a model, and whether its texts are plain descriptions of the images."""

    name: str
    asks: bool
    describes: bool


def outline(name: str) -> list[PassOutline]:
    """Read the names of a recipe's passes, in order. Nothing else of the file is looked at."""
    found = parse_yaml(recipe_path(name).read_text(encoding="utf-8"))
    try:
        return [PassOutline(str(block["name"]), "ask" in block, _describes(block)) for block in found["passes"]]
    except (KeyError, TypeError) as error:
        raise BadConfig(f"The recipe '{name}' has no list of named passes. `kale recipe lint` says more.") from error


def _describes(block: Mapping[str, Any]) -> bool:
    plain = "ask" in block and not {"for_each", "schema", "when", "otherwise"} & block.keys()
    return plain and block.get("image") is True and block.get("n", 1) == 1


def sampled_share(name: str) -> float:
    """Read the share of stage 2 that the passes of a recipe caption, too. Nothing else of the file is looked at."""
    found = parse_yaml(recipe_path(name).read_text(encoding="utf-8"))
    student = found.get("student") if isinstance(found, dict) else None
    return float(student.get("sampled") or 0) if isinstance(student, dict) else 0.0


def recipe_path(name: str) -> Path:
    """The file of a recipe, given its name or path; BadConfig if there is none, or its name is no name of a folder."""
    return variant_path(name)[0]


def variant_path(name: str) -> tuple[Path, str]:
    """The file of a recipe, and which variant of it is meant (`VARIANTS`): RECIPE@VARIANT; empty: the recipe itself."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else resource(f"config/recipes/{name}.yaml")
    stem, _, variant = path.stem.partition("@")
    path = path.with_stem(stem)
    if variant and variant not in VARIANTS:
        raise BadConfig(
            f"'{name}' is no variant of a recipe. There are {', '.join(f'{stem}@{one}' for one in VARIANTS)}."
        )
    if not path.exists():
        raise BadConfig(
            f"There is no recipe '{name}'. Use one of {', '.join(shipped_recipes())}, or the path of a YAML file."
        )
    if not _NAME.fullmatch(path.stem):
        raise BadConfig(f"'{path.stem}' cannot be the name of a recipe: use letters, digits, '_', '.' and '-'.")
    return path, variant


def variant_of(recipe: str, variant: str) -> str:
    """Name a variant of a recipe that is given by its name or path."""
    return str(Path(recipe).with_stem(f"{Path(recipe).stem}@{variant}"))


def shipped_recipes() -> list[str]:
    """The names of the recipes in config/recipes."""
    return sorted(path.stem for path in resource("config/recipes").glob("*.yaml"))


def recipes_of(settings: Settings) -> list[str]:
    """The configured recipes: that of `caption.recipe` first, then those that have Dags."""
    return list(dict.fromkeys([settings.caption.recipe, *settings.schedule.recipes]))


def recipe_name(name: str) -> str:
    """Return the name of a recipe as rows store it: the file name without its ending."""
    return Path(name).stem
