"""Rules that another package brings: installed, configured, applied on every engine, and counted under their names."""

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from kale_tasks.contract.fingerprint import fingerprint
from kale_tasks.errors import BadConfig
from kale_tasks.ingest import rules
from kale_tasks.ingest.rules import OTHER_RULES, RULES
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.tables import Lake
from kale_tasks.registry import Registry
from kale_tasks.resources import resource
from kale_tasks.settings import Settings
from tests.ingest.test_step import on_spark
from tests.ingest.world import KEY, kept, land, numbers, pair, settings_for
from tests.kale import Answer, kale_process

EXAMPLE = resource("examples/rule")
HARBOUR = "The harbour of SKAGEN in the evening light"
LOUD = "THE HARBOUR OF SKAGEN IN THE EVENING LIGHT"
RAISES = "def Shouting(**options):\n    return lambda row: 1 / 0\n"


def install(site: Path, source: str) -> None:
    """Install the example package into a folder, with its real entry points."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = site / "kale_shouting-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    sections = [f"[{group}]\n" + "".join(f"{name} = {part}\n" for name, part in of.items()) for group, of in groups]
    (info / "entry_points.txt").write_text("\n".join(sections))
    (site / "shouting.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which every process of the test imports packages."""
    path = tmp_path / "site"
    install(path, (EXAMPLE / "shouting.py").read_text())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path), os.environ.get("PYTHONPATH", os.getcwd())]))
    return path


def run_ingest(folder: Path, *sets: str) -> tuple[Answer, Settings]:
    """Run ingest as its users do, in a process of its own."""
    own = ["ingest.workers=2", "ingest.part_rows=50", "ingest.lists.evaluation=null"]
    places = [f"landing={folder / 'landing'}", f"warehouse={folder / 'lake'}"]
    Lake(settings_for(folder))  # creates it
    answer = kale_process("run", "ingest", "--key", KEY, sets=[*places, *own, *sets])
    return answer, settings_for(folder)


def land_loud(folder: Path) -> None:
    """Land two files, so that two workers clean them."""
    land(folder / "landing", [pair(1), pair(2, text=HARBOUR)], name="a")
    land(folder / "landing", [pair(3, text=LOUD), pair(4, text="SPQR, by J. R. R."), pair(5)], name="b")


def dropped(folder: Path) -> dict[str, int]:
    committed = Lake(settings_for(folder)).committed("pairs", KEY)
    assert committed
    return dict(committed.dropped)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["duckdb", pytest.param("spark", marks=pytest.mark.nightly)])
def test_a_rule_of_a_package_drops_rows_on_every_engine(tmp_path: Path, site: Path, engine: str) -> None:
    land_loud(tmp_path)
    on_engine: Sequence[str] = on_spark("local[2]") if engine == "spark" else ["ingest.engine=duckdb"]
    answer, settings = run_ingest(tmp_path, "ingest.rules.extra={shouting: {max_share: 0.6}}", *on_engine)
    assert answer.code == 0, answer.err
    assert dropped(tmp_path) == {"shouting": 1}
    assert numbers(kept(settings)) == [1, 2, 4, 5]


def test_options_and_version_of_a_rule_enter_the_fingerprint(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(options: str) -> str:
        return fingerprint(Ingest(), Ingest().config(settings_for(tmp_path, f"ingest.rules.extra={options}")), {})

    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(rules, "RULES", Registry(RULES.kind, RULES.group, {}))  # the other one has read its packages
    fingerprints = [found(options) for options in ("{}", "{shouting: {}}", "{shouting: {max_share: 0.5}}")]
    monkeypatch.setattr("shouting.Shouting.version", 2)
    assert len({*fingerprints, found("{shouting: {max_share: 0.5}}")}) == 4


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ("{silence: {}}", "There is no rule 'silence'. Known: blocked_domain"),
        ("{nsfw: {}}", "'nsfw' in ingest.rules.extra cannot name a rule of a package"),
        ("{shouting: {volume: 11}}", "The rule 'shouting' rejects its options in ingest.rules.extra.shouting"),
    ],
)
def test_a_wrong_rule_is_named_before_anything_is_read(tmp_path: Path, site: Path, extra: str, complaint: str) -> None:
    land_loud(tmp_path)
    answer, _ = run_ingest(tmp_path, f"ingest.rules.extra={extra}")
    assert (answer.code, complaint in answer.err) == (BadConfig.exit_code, True), answer.err
    assert not (tmp_path / "lake" / "pairs").exists()


def test_a_rule_that_raises_ends_the_run_without_showing_the_text(tmp_path: Path, site: Path) -> None:
    land_loud(tmp_path)
    (site / "shouting.py").write_text(RAISES)
    answer, _ = run_ingest(tmp_path, "ingest.rules.extra={shouting: {}}")
    assert "The rule 'shouting' raised ZeroDivisionError for the row with the uid" in answer.complaint
    assert answer.code == 3 and "harbour" not in answer.err.lower()


def test_without_rules_of_packages_the_config_does_not_mention_them(tmp_path: Path) -> None:
    config = Ingest().config(settings_for(tmp_path))
    assert "rule_versions" not in config and "extra" not in config["rules"]


def test_built_in_rules_are_parts_of_the_registry(tmp_path: Path) -> None:
    assert [RULES.reference(name).partition(":")[0] for name in RULES.names[:7]] == ["kale_tasks.ingest.rules"] * 7
    assert not OTHER_RULES & set(RULES.names)


def test_every_rule_of_the_queries_is_reserved() -> None:
    queries = "".join(path.read_text() for path in resource("sql/ingest").glob("*.sql"))
    assert set(re.findall(r"THEN '(\w+)'", queries)) <= OTHER_RULES


def test_the_guide_shows_the_example() -> None:
    guide = resource("docs/plugins.md").read_text()
    assert (EXAMPLE / "shouting.py").read_text() in guide
    assert '[project.entry-points."kale.rules"]\nshouting = "shouting:Shouting"' in guide
