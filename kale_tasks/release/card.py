"""The pages of a release: dataset card, charts, Croissant metadata and manifest; and the card of a student."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from kale_tasks import __version__
from kale_tasks.charts import bars, histogram, legend, picture
from kale_tasks.models.students import Student
from kale_tasks.release.built import Built, manifest
from kale_tasks.release.croissant import croissant
from kale_tasks.release.formats.base import IMAGE
from kale_tasks.release.formats.further import license_of
from kale_tasks.release.formats.text import Captions
from kale_tasks.release.samples import Sample
from kale_tasks.release.stats import BIN, BINS, TEXTS, Counts, mean_words
from kale_tasks.release.targets.base import MANIFEST, README
from kale_tasks.settings.publish import Publish
from kale_tasks.templates import render_template

CROISSANT = "croissant.json"
_BEGIN, _END = "<!-- begin of your notes: kept from release to release -->", "<!-- end of your notes -->"
_SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B"]


def pages(built: Built, settings: Publish, old_readme: str = "", samples: Sequence[Sample] = ()) -> dict[str, bytes]:
    """Return every page by name; notes that people wrote into the old card are kept."""
    charts = _charts(built.stats)
    readme = render(
        "card.md.j2",
        built=built,
        settings=settings,
        metadata=yaml.safe_dump(_metadata(built, settings), sort_keys=False, allow_unicode=True).strip(),
        columns=[(column.name, column.meaning) for column in Captions.columns],
        models=[(name, n, license_of(settings.licenses, name)) for name, n in built.stats.get("models", {}).items()],
        words={name: mean_words(built.stats, name) for name in TEXTS},
        charts=list(charts),
        samples=samples,
        code=__version__,
        **_notes(old_readme),
    )
    made = {
        README: readme.encode(),
        CROISSANT: croissant(built, settings),
        **charts,
        **{sample.name: sample.data for sample in samples},
    }
    return {**made, MANIFEST: manifest(built, sorted(made))}


def student_card(student: Student, settings: Publish, old_readme: str = "") -> bytes:
    """Return the card of a student; notes that people wrote into the old card are kept."""
    metrics = json.dumps(student.metrics, indent=1)
    text = render("student.md.j2", student=student, settings=settings, metrics=metrics, **_notes(old_readme))
    return text.encode()


def render(template: str, **values: Any) -> str:
    """Fill in a template of this package; an unknown name in it is an error."""
    filters = {"thousands": "{:,}".format}
    return render_template(Path(__file__).parent / "templates" / template, filters, **values)


def notes(readme: str) -> str:
    """Return what people wrote between the two marks of a card."""
    _, begin, rest = readme.partition(_BEGIN)
    text, end, _ = rest.partition(_END)
    return text.strip() if begin and end else ""


def _notes(old_readme: str) -> dict[str, str]:
    return {"notes": notes(old_readme), "begin": _BEGIN, "end": _END}


def _metadata(built: Built, settings: Publish) -> dict[str, Any]:
    size = _SIZES[min(len(_SIZES) - 1, max(0, len(str(built.rows("full"))) - 3))]
    return {
        "pretty_name": settings.title,
        "license": settings.license,
        **_named_license(settings),
        "language": ["en"],
        "task_categories": ["image-to-text"],
        "size_categories": [size],
        "tags": ["image-captioning", "synthetic-captions", "knowledge-augmented", "croissant"],
        "configs": [_config(built, name) for name in built.configs],
        "dataset_info": [_info(built, name) for name in built.configs],
    }


def _named_license(settings: Publish) -> dict[str, str]:
    known = {"license_name": settings.license_name, "license_link": settings.license_link}
    return {name: value for name, value in known.items() if value}


def _config(built: Built, name: str) -> dict[str, Any]:
    default = {"default": True} if built.is_default(name) else {}
    split = built.configs[name].split
    return {"config_name": name, **default, "data_files": [{"split": split, "path": built.globs(name)}]}


def _info(built: Built, name: str) -> dict[str, Any]:
    size = built.bytes(name)
    return {
        "config_name": name,
        "features": [_feature(field) for field in built.configs[name].schema],
        "splits": [{"name": built.configs[name].split, "num_bytes": size, "num_examples": built.rows(name)}],
        "download_size": size,
        "dataset_size": size,
    }


def _feature(field: pa.Field) -> dict[str, Any]:
    """Describe a column in the words of the Hub's `dataset_info`; its viewer shows columns by them."""
    if field.type == IMAGE:
        return {"name": field.name, "dtype": "image"}
    if pa.types.is_list(field.type):
        inner = field.type.value_type
        items = [{"name": f.name, "dtype": str(f.type)} for f in inner] if pa.types.is_struct(inner) else None
        return {"name": field.name, "list": items} if items else {"name": field.name, "sequence": str(inner)}
    return {"name": field.name, "dtype": str(field.type)}


def _charts(stats: Counts) -> dict[str, bytes]:
    words = {name: stats[f"words.{name}"] for name in TEXTS if stats.get(f"words.{name}")}
    counts = {name: [values.get(f"{i * BIN:03d}", 0) for i in range(BINS)] for name, values in words.items()}
    stages: Mapping[str, int] = {f"stage {name}": n for name, n in stats.get("stages", {}).items()}
    flags = stats.get("flags", {})
    shapes = (legend(list(counts)), histogram(counts, BIN, "words"))
    return {
        "pictures/words.svg": picture(*shapes, title="Words in a text, in tens"),
        "pictures/stages.svg": picture(bars(stages), title="Captions by stage"),
        **({"pictures/flags.svg": picture(bars(flags), title="Captions with a flag")} if flags else {}),
    }
