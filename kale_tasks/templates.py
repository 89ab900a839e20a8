"""Opens folders of Jinja templates with the same options everywhere."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


@cache
def open_templates(*folders: Path) -> Environment:
    """Open folders of templates, the first first. HTML is escaped, Markdown is not; an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_template(path: Path, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """Render a template file; it may extend or import its neighbours.

    The filters are added to the environment of the file's folder.
    """
    environment = open_templates(path.parent)
    environment.filters.update(filters or {})
    return environment.get_template(path.name).render(**values)
