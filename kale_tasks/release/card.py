"""The pages of a release: dataset card, pictures, Croissant metadata and manifest; made from what the lake knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kale_tasks import __version__
from kale_tasks.release.built import Built, manifest
from kale_tasks.release.charts import bars, histogram
from kale_tasks.release.croissant import croissant
from kale_tasks.release.formats import COLUMNS, meaning, schema_of
from kale_tasks.release.stats import TEXTS, Counts, mean_words
from kale_tasks.release.targets.base import MANIFEST, README
from kale_tasks.settings.publish import Publish

CROISSANT = "croissant.json"
_TEMPLATES = Path(__file__).parent / "templates"
_BEGIN, _END = "<!-- begin of your notes: kept from release to release -->", "<!-- end of your notes -->"
_SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B"]


def pages(built: Built, settings: Publish, old_readme: str = "") -> dict[str, bytes]:
    """Every page by name; notes that people wrote into the old card are kept."""
    pictures = _pictures(built.stats)
    readme = _readme(built, settings, list(pictures), notes(old_readme))
    listed = manifest(built)
    return {README: readme, CROISSANT: croissant(built, settings), MANIFEST: listed, **pictures}


def notes(readme: str) -> str:
    """What people wrote between the marks of a card."""
    _, begin, rest = readme.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    return text.strip() if begin and end else ""


def _readme(built: Built, settings: Publish, pictures: list[str], kept: str) -> bytes:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    text = environment.get_template("card.md.j2").render(
        built=built,
        settings=settings,
        metadata=yaml.safe_dump(_metadata(built, settings), sort_keys=False, allow_unicode=True),
        columns=[(name, meaning(name)) for name in COLUMNS],
        words={name: mean_words(built.stats, name) for name in TEXTS},
        pictures=pictures,
        code=__version__,
        notes=kept,
        begin=_BEGIN,
        end=_END,
    )
    return text.encode()


def _metadata(built: Built, settings: Publish) -> dict[str, Any]:
    rows = built.rows("full")
    size = _SIZES[min(len(_SIZES) - 1, max(0, len(str(rows)) - 3))]
    return {
        "pretty_name": settings.title,
        "license": settings.license,
        "language": ["en"],
        "task_categories": ["image-to-text"],
        "size_categories": [size],
        "tags": ["image-captioning", "synthetic-captions", "knowledge-augmented", "croissant"],
        "configs": [
            {"config_name": name, **({"default": True} if name == "full" else {}),
             "data_files": [{"split": "train", "path": built.globs(name)}]}
            for name in built.configs
        ],
        "dataset_info": [
            {"config_name": name, "features": [_feature(f) for f in schema_of(name)],
             "splits": [{"name": "train", "num_bytes": built.bytes(name), "num_examples": built.rows(name)}],
             "download_size": built.bytes(name), "dataset_size": built.bytes(name)}
            for name in built.configs
        ],
    }  # fmt: skip


def _feature(field: pa.Field) -> dict[str, Any]:
    # The words of the Hub's `dataset_info`; the viewer shows columns by them.
    if field.name == "image":
        return {"name": "image", "dtype": "image"}
    if pa.types.is_list(field.type):
        inner = field.type.value_type
        items = [{"name": f.name, "dtype": str(f.type)} for f in inner] if pa.types.is_struct(inner) else None
        return {"name": field.name, "list": items} if items else {"name": field.name, "sequence": str(inner)}
    return {"name": field.name, "dtype": str(field.type)}


def _pictures(stats: Counts) -> dict[str, bytes]:
    words = {
        name: {edge: n for edge, n in values.items() if edge.isdigit()}
        for name in TEXTS
        if (values := stats.get(f"words.{name}", {}))
    }
    stages: Mapping[str, int] = {f"stage {name}": n for name, n in stats.get("stages", {}).items()}
    return {
        "pictures/words.svg": histogram("Words in a text", words, "words, by tens"),
        "pictures/stages.svg": bars("Captions by stage", stages),
        **({"pictures/flags.svg": bars("Rows with a flag", stats["flags"])} if stats.get("flags") else {}),
    }
