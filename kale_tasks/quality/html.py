"""Renders the report pages. A page is one HTML file that loads nothing else; all values are escaped."""

from pathlib import Path
from typing import Any

from kale_tasks.charts import bars, histogram, sparkline
from kale_tasks.quality import words
from kale_tasks.templates import open_templates

TEMPLATES = Path(__file__).with_name("templates")
FILTERS = {
    **{name: getattr(words, name) for name in ("number", "share", "duration", "moment", "seen", "wanted", "counted")},
    "words": words.spaced,
    "sparkline": sparkline,
}


def render(template: str, **values: Any) -> str:
    """Render a page by the name of its template."""
    environment = open_templates(TEMPLATES)
    environment.globals |= {"bars": bars, "histogram": histogram}
    environment.filters |= FILTERS
    return environment.get_template(template).render(**values)
