"""Croissant metadata of a release: its files and columns, for tools that search and load datasets."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from kale_tasks.lake.columns import Column
from kale_tasks.release.built import Built
from kale_tasks.release.formats.base import IMAGE, Format
from kale_tasks.settings.publish import Publish

_TEMPLATE = Path(__file__).parent / "templates" / "croissant.json"


def croissant(built: Built, settings: Publish) -> bytes:
    """Return the description as JSON-LD."""
    known = {
        **json.loads(_TEMPLATE.read_text(encoding="utf-8")),
        "name": settings.title,
        "description": f"{built.rows('full')} captions of web images with the facts of their alt-text.",
        "license": settings.license,
        "datePublished": built.at[:10],
        "version": _version(built),
        "distribution": [*_files(built), *_file_sets(built)],
        "recordSet": [_record_set(config, form) for config, form in built.configs.items()],
    }
    if settings.citation:
        known["citeAs"] = settings.citation
    return json.dumps(known, indent=1, ensure_ascii=False).encode() + b"\n"


def _version(built: Built) -> str:
    """Return a version of the form that tools expect: the date and time of the release, and its name behind a plus."""
    at = datetime.fromisoformat(built.at)
    major, minor, patch = (int(at.strftime(part)) for part in ("%Y", "%m%d", "%H%M%S"))
    return f"{major}.{minor}.{patch}+{built.version}"


def _files(built: Built) -> list[dict[str, Any]]:
    media_types = {form.name: form.media_type for form in built.formats}
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "contentUrl": file.name,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": media_types[file.format],
            "sha256": file.sha256,
        }
        for file in built.files
    ]


def _file_sets(built: Built) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{name}-files",
            "encodingFormat": form.media_type,
            "includes": built.globs(name),
        }
        for name, form in built.configs.items()
    ]


def _record_set(config: str, form: Format) -> dict[str, Any]:
    fields = [_field(config, column) for column in form.columns]
    return {"@type": "cr:RecordSet", "@id": config, "key": {"@id": f"{config}/uid"}, "field": fields}


def _field(config: str, column: Column) -> dict[str, Any]:
    name = f"{config}/{column.name}"
    source = {"fileSet": {"@id": f"{config}-files"}, "extract": {"column": column.name}}
    known: dict[str, Any] = {"@type": "cr:Field", "@id": name, "description": column.meaning}
    inner = column.type.value_type if pa.types.is_list(column.type) else column.type
    if column.type == IMAGE:
        return {**known, "dataType": "sc:ImageObject", "source": {**source, "transform": {"jsonPath": "bytes"}}}
    if inner is not column.type:
        known["repeated"] = True
    if pa.types.is_struct(inner):
        known["subField"] = [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field.name}",
                "dataType": _data_type(field.type),
                "source": {**source, "transform": {"jsonPath": f"[*].{field.name}"}},
            }
            for field in inner
        ]
        return {**known, "source": source}
    return {**known, "dataType": _data_type(inner), "source": source}


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Integer" if pa.types.is_integer(kind) else "sc:Text"
