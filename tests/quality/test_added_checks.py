"""Another package adds checks to a table in one file, registered in the entry-point group `kale.checks`."""

import sys
from pathlib import Path

import pytest

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.tables import Lake
from kale_tasks.quality import suite
from kale_tasks.quality.check import check_run
from kale_tasks.registry import Registry
from tests.quality.world import World, commit, open_world

_SUITE = """
import great_expectations.expectations as gxe
import pyarrow.compute as pc

from kale_tasks.quality.suite import Limit, Suite
from kale_tasks.quality.suites.common import expect


class TitleSuite(Suite):
    steps = ("ingest",)
    columns = ("alt_text", "url")

    def features(self, rows):
        return {{"shouts": pc.match_substring_regex(rows["alt_text"], pattern=r"^[A-Z !]+$")}}

    def expectations(self):
        secure = r"^https://"
        return [expect("url_secure", "url is https", gxe.ExpectColumnValuesToMatchRegex, column="url", regex=secure)]

    def queries(self):
        return ["select avg(case when shouts then 1e0 else 0e0 end) as {figure} from batch"]

    def limits(self, subject):
        return [Limit("shouting_share", "critical", "Alt-texts do not shout", high=0.01)]
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a suite of checks, installed for one test."""
    info = tmp_path / "site" / "titles-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: titles\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[kale.checks]\ntitles = title_suite:TitleSuite\n")
    module = tmp_path / "site" / "title_suite.py"
    module.write_text(_SUITE.format(figure="shouting_share"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "title_suite", raising=False)
    monkeypatch.setattr(suite, "CHECKS", Registry("suite of checks", "kale.checks", {}))
    return module


def lake_with(tmp_path: Path, **changes: str) -> Lake:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", lambda rows: [*({**row, **changes} for row in rows[:20]), *rows[20:]])
    return lake


def test_added_checks_run_beside_the_built_in_ones(added: Path, tmp_path: Path) -> None:
    lake = lake_with(tmp_path)
    result = check_run(lake, lake.settings, "ingest", "k")
    status = {check.name: check.status for check in result.checks}
    assert status["shouting_share"] == status["url_secure"] == status["mojibake_share"] == "passed"


def test_an_added_figure_and_an_added_expectation_fail_a_key(added: Path, tmp_path: Path) -> None:
    lake = lake_with(tmp_path, alt_text="BUY NOW", url="http://example.org/a.jpg")
    with pytest.raises(BadData, match=r"do not shout: saw \d\.\d %, wanted at most 1\.0 % \(shouting_share\)") as error:
        check_run(lake, lake.settings, "ingest", "k")
    assert "url is https: saw 20, wanted 0 (url_secure)" in str(error.value)


def test_added_checks_leave_other_steps_alone(added: Path) -> None:
    assert list(suite.find_suite("images").expectation_suites()) == ["kale"]
    assert list(suite.find_suite("ingest").expectation_suites()) == ["kale", "titles"]


@pytest.mark.parametrize(
    ("figure", "message"), [("mojibake_share", "Two queries .* 'mojibake_share'"), ("other", "'shouting_share', which")]
)
def test_a_figure_that_collides_or_is_missing_is_named(figure: str, message: str, added: Path, tmp_path: Path) -> None:
    added.write_text(_SUITE.format(figure=figure))
    lake = lake_with(tmp_path)
    with pytest.raises(BadConfig, match=message):
        check_run(lake, lake.settings, "ingest", "k")
