"""Writes Data Docs of Great Expectations from stored validation results: pages without scripts and outside links.

Importing it imports Great Expectations, so it is imported when Data Docs are asked for.
"""

import copy
import html
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.render.view import DefaultJinjaIndexPageView, DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader

from kale_tasks.errors import Conflict
from kale_tasks.lake.storage.base import Storage
from kale_tasks.quality import validations
from kale_tasks.quality.checkpoint import open_context
from kale_tasks.quality.verdict import CheckResult

_TEMPLATES = Path(__file__).with_name("templates")
_SITE = "kale"
_MARKDOWN = re.compile(r"([^\w\s])")  # what may have a meaning in Markdown


class _Offline:
    """A view that takes its templates from here first: those of Great Expectations load scripts and styles."""

    env: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = FileSystemLoader([_TEMPLATES / "docs", _TEMPLATES])
        self.env.loader = ChoiceLoader([own, self.env.loader])


class OfflinePage(_Offline, DefaultJinjaPageView):
    """The page of a suite or of a validation result."""


class OfflineIndex(_Offline, DefaultJinjaIndexPageView):
    """The page that lists them."""


def write_docs(storage: Storage, result: CheckResult, folder: Path) -> Path:
    """Write the Data Docs of a check, and of the checks that it was compared with; return the page to open.

    Raises Conflict if no validation result is stored, as of a run whose files could not be read.
    """
    seals = [result.seal_id, *result.compared.values()]
    found = [one for seal in dict.fromkeys(seals) for one in validations.read(storage, seal)]
    if not validations.read(storage, result.seal_id):
        raise Conflict(
            f"{result.table} {result.partition} has no validation results. Run `kale check {result.step} "
            f"--key {result.key}` first."
        )
    context = open_context()
    _fill(context, found)
    builder, view = "DefaultSiteSectionBuilder", {"module_name": __name__, "class_name": OfflinePage.__name__}
    config: Any = {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())},
        "show_how_to_buttons": False,
        "site_index_builder": {
            "class_name": "DefaultSiteIndexBuilder",
            "view": {"module_name": __name__, "class_name": OfflineIndex.__name__},
        },
        "site_section_builders": {
            "expectations": {"class_name": builder, "view": view},
            "validations": {"class_name": builder, "view": view},
            "profiling": "None",
        },
    }
    context.add_data_docs_site(_SITE, config)
    context.build_data_docs(site_names=[_SITE])
    shutil.rmtree(folder / "static", ignore_errors=True)  # styles and pictures that no page uses
    return folder / "index.html"


def _plain(config: Any) -> None:
    """Make texts of a user show as they are: Great Expectations takes a description as HTML and notes as Markdown."""
    config.description = config.description and html.escape(config.description)
    notes = [config.notes] if isinstance(config.notes, str) else config.notes or []
    config.notes = [_MARKDOWN.sub(r"\\\1", note) for note in notes] or None


def _fill(context: Any, found: Sequence[ExpectationSuiteValidationResult]) -> None:
    """Put stored results, and the suites that they are of, into the stores of a context."""
    for number, one in enumerate(found):
        for result in one.results:
            _plain(result.expectation_config)
        if one.suite_name not in {suite.name for suite in context.suites.all()}:
            expectations: list[Any] = [copy.deepcopy(result.expectation_config) for result in one.results]
            for config in expectations:
                config.id = None
            context.suites.add(ExpectationSuite(one.suite_name, expectations=expectations))
        suite = ExpectationSuiteIdentifier(one.suite_name)
        key = ValidationResultIdentifier(suite, one.meta["run_id"], batch_identifier=f"{number}")
        context.validation_results_store.set(key, one)
