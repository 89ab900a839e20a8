"""Croissant metadata of a release: its files and columns, for machines that look for data."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from kale_tasks.release.built import Built
from kale_tasks.release.formats import meaning, schema_of
from kale_tasks.settings.publish import Publish

_TEMPLATE = Path(__file__).parent / "templates" / "croissant.json"


def croissant(built: Built, settings: Publish) -> bytes:
    """The description as JSON-LD."""
    known = {
        **json.loads(_TEMPLATE.read_text(encoding="utf-8")),
        "name": settings.title,
        "description": f"{built.rows('full')} captions of web images with the facts of their alt-text.",
        "license": settings.license,
        "version": built.version,
        "distribution": [*_files(built), *_file_sets(built)],
        "recordSet": [_record_set(name) for name in built.configs],
    }
    if settings.citation:
        known["citeAs"] = settings.citation
    return json.dumps(known, indent=1, ensure_ascii=False).encode() + b"\n"


def _files(built: Built) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "contentUrl": file.name,
            "contentSize": f"{file.bytes} B",
            "encodingFormat": "application/x-tar" if file.name.endswith(".tar") else "application/x-parquet",
            "sha256": file.sha256,
        }
        for file in built.files
    ]


def _file_sets(built: Built) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{name}-files",
            "encodingFormat": "application/x-parquet",
            "includes": built.globs(name),
        }
        for name in built.configs
    ]


def _record_set(config: str) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{config}/{field.name}",
            "description": meaning(field.name),
            "dataType": _type(field.type),
            "source": {"fileSet": {"@id": f"{config}-files"}, "extract": {"column": field.name}},
            **({"repeated": True} if pa.types.is_list(field.type) else {}),
        }
        for field in schema_of(config)
    ]
    return {"@type": "cr:RecordSet", "@id": config, "key": {"@id": f"{config}/uid"}, "field": fields}


def _type(kind: pa.DataType) -> str:
    kind = kind.value_type if pa.types.is_list(kind) else kind
    return "sc:Integer" if pa.types.is_integer(kind) else "sc:ImageObject" if pa.types.is_struct(kind) else "sc:Text"
