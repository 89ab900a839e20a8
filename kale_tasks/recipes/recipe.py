"""Recipes: which models make the captions, asked with which words, and what is done with their answers."""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from kale_tasks.errors import BadConfig
from kale_tasks.resources import package_file, resource

Message = dict[str, Any]
_SLOT = re.compile(r"\{(alt|dense)\}")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prompt(_Frozen):
    """The words of a request; `{alt}` and `{dense}` in them are filled in once, whatever the texts contain."""

    system: str
    user: str
    alt_characters: int = Field(default=400, ge=0, description="An alt-text is cut here.")

    @property
    def wants_alt(self) -> bool:
        """Whether the alt-text is part of it."""
        return "{alt}" in self.user

    @property
    def hash(self) -> str:
        """A short hash of the template."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def messages(self, *, alt: str = "", dense: str = "", image: bool) -> list[Message]:
        """The chat messages of one row; the image, if any, stands before the text."""
        texts = {"alt": tame(alt)[: self.alt_characters], "dense": dense}
        user = _SLOT.sub(lambda slot: texts[slot[1]], self.user)
        content: Any = [{"type": "image"}, {"type": "text", "text": user}] if image else user
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]


class Sampling(_Frozen):
    """How tokens are drawn; a retry draws with the temperature given for it and another seed."""

    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=0, ge=0)
    top_p: float = Field(default=1, gt=0, le=1)
    retry_temperature: float = Field(default=0.7, ge=0)
    seed: int = 0


class Clean(_Frozen):
    """Which cleaning rules hold for the answers."""

    intro: bool = Field(default=True, description="Take away openings such as 'The image shows'.")
    languages: list[str] = Field(default=["en"], description="Languages an answer may have; empty: any.")
    min_words: int = Field(default=4, ge=0)
    max_words: int = Field(default=250, ge=1)
    lexicon: list[str] = Field(default=[], description="Further phrases that betray a prompt.")


class Grounding(_Frozen):
    """What happens to a caption that states facts of neither source."""

    allowed: int | None = Field(default=None, ge=0, description="So many pass; null: all, they are only counted.")
    otherwise: Literal["cut", "dense"] = Field(default="dense", description="Cut their sentences, or fall back.")


class Task(_Frozen):
    """One kind of request: to which model, with which words."""

    model: str = Field(description="repo@revision, a folder, or sample:NAME; empty for the student: the promoted one.")
    dtype: Literal["float32", "bfloat16", "float16"]
    context: int = Field(ge=16, description="Most tokens of prompt, image and answer together.")
    image_tokens: int = Field(default=0, ge=0, description="Most tokens that one image takes.")
    image_side: int = Field(default=0, ge=0, description="Larger images are scaled down to this side; 0: as they are.")
    prompt: Prompt
    sampling: Sampling
    clean: Clean = Clean()
    retries: int = Field(default=1, ge=0, description="Times an answer that no rule could save is asked for again.")
    grounding: Grounding = Grounding()

    @field_validator("prompt", mode="before")
    @classmethod
    def _shipped(cls, value: Any) -> Any:
        return _sample_prompt(value[7:]) if isinstance(value, str) and value.startswith("sample:") else value


class Recipe(_Frozen):
    """One way to make captions; without `fuse` the dense caption is the caption."""

    about: str
    dense: Task
    fuse: Task | None
    student: Task


def load_recipe(name: str) -> Recipe:
    """The recipe of that name in config/recipes, or of that path."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else resource(f"config/recipes/{name}.yaml")
    if not path.exists():
        known = sorted(p.stem for p in resource("config/recipes").glob("*.yaml"))
        raise BadConfig(f"There is no recipe '{name}'. Use one of {', '.join(known)}, or the path of a YAML file.")
    return _read(path, path.stat().st_mtime_ns)


def recipe_name(name: str) -> str:
    """What rows call a recipe."""
    return Path(name).stem


def tame(alt: str) -> str:
    """An alt-text as it may stand in a prompt: one line, nothing invisible, no mark-up that a model obeys."""
    visible = "".join(c if c.isprintable() or c in "\u200d\u200c" else " " for c in alt)
    return " ".join(_COMMANDS.sub(" ", visible).split())


# Chat templates' own tokens, image slots and the delimiter of the prompt itself.
_COMMANDS = re.compile(
    r"<\|[^<>|]{0,40}\|>|</?(?:alt|s|image|img|system|user|assistant)\b[^<>]{0,40}>|\[/?INST\]|<</?SYS>>", re.I
)


@cache
def _read(path: Path, _changed: int) -> Recipe:
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise BadConfig(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error
    except yaml.YAMLError as error:
        raise BadConfig(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error


def _sample_prompt(name: str) -> dict[str, Any]:
    # The tiny models know no other words than those they were trained on; these stand beside them, once.
    known = yaml.safe_load(package_file("world/models/prompts.yaml").read_text(encoding="utf-8"))
    return {**known[name], "alt_characters": known["alt_characters"]}
