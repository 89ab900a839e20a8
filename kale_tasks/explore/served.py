"""Asks a server that speaks OpenAI's API for its models, and points a recipe at them."""

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import open_expert
from kale_tasks.experts.faces import Faces
from kale_tasks.explore.export import complete_file
from kale_tasks.models.locate import SERVED
from kale_tasks.process import SCRATCH
from kale_tasks.recipes.files import recipe_name, recipe_path
from kale_tasks.resources import parse_yaml
from kale_tasks.settings import Settings
from kale_tasks.settings.caption import Caption

_TIMEOUT = 10.0
_LONG = 80  # characters of a text that is written as a block
_ABSENT = "none"  # in the recipe, until there is a server
EXPERTS = {"tags": "tags", "ocr": "rapidocr", "faces": "faces", "nsfw": "nsfw"}  # pass to expert
HOW = (
    "Start any server that speaks OpenAI's API, such as `vllm serve Qwen/Qwen3-VL-8B-Instruct` or Ollama with a model "
    "that sees images, and add --server http://127.0.0.1:8000/v1"
)


class Served(NamedTuple):
    """A server and one of its models."""

    url: str
    model: str


def find_server(url: str, model: str, settings: Caption) -> Served:
    """Ask a server for its models and choose: the one of that name, or the only one. BadConfig if that is not possible.

    The address may lack `/v1`.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise BadConfig(f"'{url}' is no address of a server. Write it as in http://127.0.0.1:8000/v1.")
    base, names = _ask(url.rstrip("/"), settings)
    if model and model not in names:
        near = get_close_matches(model, names, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise BadConfig(f"{base} does not serve '{model}'. {hint}{_listed(names)}")
    if not model and len(names) != 1:
        raise BadConfig(f"{base} serves {len(names)} models: name one with --model. {_listed(names)}")
    return Served(base, model or names[0])


def _listed(names: Sequence[str]) -> str:
    return f"Its models: {', '.join(names[:20]) or 'none'}."


def _ask(url: str, settings: Caption) -> tuple[str, list[str]]:
    key = settings.endpoints.api_key
    headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    found = ""
    for base in dict.fromkeys((url, f"{url}/v1")):
        try:
            request = urllib.request.Request(f"{base}/models", headers=headers)
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return base, [str(one["id"]) for one in json.load(answer)["data"]]
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise BadConfig(
                    f"{base} wants a key ({error.code}). Set it: export KALE_CAPTION__ENDPOINTS__API_KEY=..."
                ) from error
            found = found or f"{error.code} {error.reason}"
        except (OSError, ValueError, LookupError, TypeError) as error:
            found = found or str(getattr(error, "reason", error))
    raise BadConfig(f"No server that speaks OpenAI's API answers at {url} ({found}). {HOW}.")


def missing_experts() -> dict[str, str]:
    """Say of each expert that is not installed what is missing, by pass."""
    return {name: reason for name in EXPERTS if (reason := _missing(name))}


def _missing(name: str) -> str:
    expert = open_expert(EXPERTS[name], {})
    try:
        return "" if expert.identity and (not isinstance(expert, Faces) or _can_run_faces()) else "missing"
    except BadConfig as error:
        return str(error)


def _can_run_faces() -> bool:
    from importlib.util import find_spec

    return find_spec("ai_edge_litert") is not None


def write_recipe(path: Path, like: str, served: Served | None) -> list[str]:
    """Write a recipe: that of `like` with the experts that are installed, asking the server. Returns its model names.

    A recipe that is there keeps the passes that a person may have changed; only the names of its models are brought up
    to date.
    """
    tree = parse_yaml((path if path.exists() else recipe_path(like)).read_text("utf-8"))
    before = yaml.safe_dump(tree)
    if not path.exists():
        tree = _with_experts(tree)
    for spec in tree["models"].values():
        name = f"{SERVED}{served.model}" if served else spec["model"] if path.exists() else f"{SERVED}{_ABSENT}"
        spec["model"] = name
    if not path.exists() or yaml.safe_dump(tree) != before:
        text = yaml.dump(tree, Dumper=_Readable, sort_keys=False, allow_unicode=True, width=110)
        with complete_file(path) as unfinished:
            unfinished.write_text(text, "utf-8")
    return list(tree["models"])


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines, and long ones, as blocks, which people can change."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _LONG else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Readable.add_representer(str, _block)


def _with_experts(tree: Mapping[str, Any]) -> dict[str, Any]:
    missing, taken = missing_experts(), {one["name"] for one in tree["passes"]}
    added = [name for name in EXPERTS if name not in missing and name not in taken]
    passes = [*({"name": name, "expert": EXPERTS[name]} for name in added), *tree["passes"]]
    return {**tree, "passes": passes, "also": [*tree.get("also", []), *added]}


def without_models(passes: Sequence[Any]) -> Iterator[str]:
    """Yield the names of the passes that need no model of a server, nor anything that such a pass made."""
    found = set[str]()
    for one in passes:
        if one.verb == "expert":
            found.add(one.name)
            yield one.name


def asking(settings: Settings, server: str, model: str) -> Settings:
    """Settings whose recipe asks a server, if one is named; only its prompts are those of the configured recipe."""
    if not server:
        return settings
    served = find_server(server, model, settings.caption)
    path = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}recipe-"), f"{recipe_name(settings.caption.recipe)}.yaml")
    return of_server(settings, path, write_recipe(path, settings.caption.recipe, served), served.url)


def of_server(settings: Settings, recipe: Path, names: Sequence[str], url: str) -> Settings:
    """Settings with a recipe whose models a server serves; without an address, nothing does."""
    caption = settings.caption
    endpoints = caption.endpoints.model_copy(update={"models": dict.fromkeys(names, [url] if url else [])})
    update = {"recipe": str(recipe), "engine": "openai", "endpoints": endpoints}
    return settings.model_copy(update={"caption": caption.model_copy(update=update)})
