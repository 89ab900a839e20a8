"""Recipes: which models make the captions, with which prompts, and how their answers are cleaned and checked."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from kale_tasks.errors import BadConfig
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.models.locate import split_source
from kale_tasks.resources import resource
from kale_tasks.settings.section import Section, neutral

Message = dict[str, Any]
_SLOT = re.compile(r"\{(alt|dense)\}")
# Fields of a task that no code reads in that place; a recipe that sets one is mistaken about what it does.
_UNREAD = {"dense": ("grounding",), "fuse": ("image_side",), "student": ("grounding",)}


class Prompt(Section):
    """A prompt template. `{alt}` and `{dense}` are replaced once; braces in the inserted texts have no effect."""

    system: str
    user: str
    alt_characters: int = Field(default=400, ge=0, description="Maximum length of the alt-text in the prompt.")

    @property
    def wants_alt(self) -> bool:
        """Whether the alt-text is part of the prompt."""
        return "{alt}" in self.user

    @property
    def hash(self) -> str:
        """A short hash of the template, stored with each caption."""
        text = json.dumps(self.semantic(), ensure_ascii=False, separators=(",", ":"))
        return short_sha256(text, 12)

    def messages(self, *, alt: str = "", dense: str = "", image: bool) -> list[Message]:
        """Fill in the template for one row and return chat messages. The image, if any, precedes the text."""
        texts = {"alt": tame(alt)[: self.alt_characters], "dense": dense}
        user = _SLOT.sub(lambda slot: texts[slot[1]], self.user)
        content: Any = [{"type": "image"}, {"type": "text", "text": user}] if image else user
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]


class Sampling(Section):
    """Sampling parameters. Retries use `retry_temperature` and another seed."""

    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=0, ge=0)
    top_p: float = neutral(1, default=1, gt=0, le=1)
    retry_temperature: float = Field(default=0.7, ge=0)
    seed: int = neutral(0, "Added to the seed of each row.", default=0)


class Clean(Section):
    """Options of the cleaning rules."""

    intro: bool = neutral(False, "Remove openings such as 'The image shows'.", default=True)
    languages: list[str] = neutral([], "Allowed languages; empty: any.", default=["en"])
    min_words: int = neutral(0, default=4, ge=0)
    max_words: int = Field(default=250, ge=1)
    lexicon: list[str] = neutral([], "Additional phrases that reveal a leaked prompt.", default=[])


class Grounding(Section):
    """What to do with a fused caption that states facts found in neither the dense caption nor the alt-text."""

    allowed: int | None = neutral(None, "Maximum number of such facts; null: only count them.", default=None, ge=0)
    otherwise: Literal["cut", "dense"] = Field(
        default="dense", description="Above it: cut the sentences that state them, or use the dense caption."
    )


class Task(Section):
    """One model call of a recipe: the model, its prompt, and how its answers are treated."""

    model: str = Field(description="repo@revision, a folder, or sample:NAME; empty in `student`: the promoted student.")
    dtype: Literal["float32", "bfloat16", "float16"]
    context: int = Field(ge=16, description="Maximum tokens of prompt, image and answer together.")
    image_tokens: int = neutral(0, "Maximum tokens of one image; 0: a text-only model.", default=0, ge=0)
    image_side: int = neutral(0, "Scale larger images down to this many pixels; 0: never.", default=0, ge=0)
    prompt: Prompt
    sampling: Sampling
    clean: Clean = Clean()
    retries: int = neutral(0, "How often to ask again when cleaning leaves no caption.", default=1, ge=0)
    grounding: Grounding = Grounding()

    @field_validator("prompt", mode="before")
    @classmethod
    def _prompt_of_source(cls, value: Any) -> Any:
        sourced = split_source(value) if isinstance(value, str) else None
        return sourced[0].prompt(sourced[1]) if sourced else value


class Recipe(Section):
    """One way to make captions; without `fuse` the dense caption becomes the caption."""

    about: str
    dense: Task
    fuse: Task | None
    student: Task

    @model_validator(mode="after")
    def _every_field_is_read(self) -> Self:
        for name, fields in _UNREAD.items():
            task: Task | None = getattr(self, name)
            if task is None:
                continue
            for field in fields:
                if field in task.model_fields_set:
                    raise ValueError(f"{name}.{field} has no effect; remove it")
            if name != "fuse" and "{dense}" in task.prompt.user:
                raise ValueError(f"{name}.prompt uses {{dense}}, which only the prompt of `fuse` can")
        return self


def load_recipe(name: str) -> Recipe:
    """Load the recipe of that name from config/recipes, or from a path that ends in .yaml."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else resource(f"config/recipes/{name}.yaml")
    if not path.exists():
        known = sorted(p.stem for p in resource("config/recipes").glob("*.yaml"))
        raise BadConfig(f"There is no recipe '{name}'. Use one of {', '.join(known)}, or the path of a YAML file.")
    return _read(path, path.stat().st_mtime_ns)


def recipe_name(name: str) -> str:
    """Return the name of a recipe as rows store it: the file name without its ending."""
    return Path(name).stem


def tame(alt: str) -> str:
    """Make an alt-text safe for a prompt: one line, no invisible characters, no markup with a meaning to a model."""
    visible = "".join(c if c.isprintable() or c in "\u200d\u200c" else " " for c in alt)
    return " ".join(_COMMANDS.sub(" ", visible).split())


# Special tokens of chat templates, image placeholders and the delimiter that our own prompts use.
_COMMANDS = re.compile(
    r"<\|[^<>|]{0,40}\|>|</?(?:alt|s|image|img|system|user|assistant)\b[^<>]{0,40}>|\[/?INST\]|<</?SYS>>", re.I
)


@cache
def _read(path: Path, _changed: int) -> Recipe:
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadConfig(f"{path.name}: {where}{': ' if where else ''}{first['msg']}.") from error
    except yaml.YAMLError as error:
        raise BadConfig(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
