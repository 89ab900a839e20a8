"""Checks pass clean data and fail spoilt data, each for the right reason."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadConfig, BadData, Conflict, KaleError
from kale_tasks.quality.check import check_run, examine
from kale_tasks.quality.expectations import check_figures
from kale_tasks.quality.stored import read_report
from kale_tasks.quality.suite import Limit, Subject
from tests.kale import kale
from tests.quality.defects import each, failed, failing, first_twice, share, stored
from tests.quality.test_suite_files import lake_of, write
from tests.quality.world import DENSE, STEPS, World, commit, commit_all, open_world


@pytest.mark.parametrize("keys", [5, pytest.param(20, marks=pytest.mark.nightly)])
def test_clean_keys_raise_no_alarm(tmp_path: Path, keys: int) -> None:
    lake = open_world(tmp_path, **{"quality.drift.least_rows": 50})
    for seed in range(keys):
        key = f"2026-11-{seed + 1:02d}"
        world = World(key, seed, pairs=250)
        for step in STEPS:
            commit(lake, world, step)
            result = check_run(lake, lake.settings, step, key)
            assert result.status == "passed", [c for c in result.checks if c.status == "failed"]
    compared = {c.name: c.status for c in result.checks}
    assert compared["length_psi"] == compared["alt_used_share_shift"] == compared["student_alt_gap"] == "passed"


def test_a_key_unlike_the_ones_before_it_is_stopped(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"quality.drift.least_rows": 50})
    for day in range(4):
        commit_all(lake, World(f"2026-11-0{day + 1}"), DENSE)
        check_run(lake, lake.settings, DENSE, f"2026-11-0{day + 1}")
    commit_all(lake, World("2026-11-05"), "images")
    commit(lake, World("2026-11-05"), DENSE, each(text=lambda r: f"{r['text']} {r['text']}"))
    assert failed(lake, DENSE, "2026-11-05").failed == ["length_psi"]
    commit(lake, World("2026-11-05"), DENSE, share(0.4, text=lambda r: "The boat, a tower; some river, old walls."))
    assert {"length_psi", "text_copies"} <= set(failed(lake, DENSE, "2026-11-05").failed)
    commit_all(lake, World("2026-11-05"), DENSE)
    assert check_run(lake, lake.settings, DENSE, "2026-11-05").status == "passed"


def test_a_share_far_from_that_of_earlier_keys_is_worth_a_look(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"quality.drift.least_rows": 50})
    for day in range(4):
        commit_all(lake, World(f"2026-11-0{day + 1}"), "images")
        check_run(lake, lake.settings, "images", f"2026-11-0{day + 1}")
    commit(lake, World("2026-11-05"), "ingest")
    commit(lake, World("2026-11-05"), "images", failing(0.4, "http_404"))
    assert check_run(lake, lake.settings, "images", "2026-11-05").warnings == ["yield_share_shift"]


def test_a_lost_part_is_bad_data_and_not_a_crash(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest")
    lake.storage.delete(lake.files("pairs", "k")[0].path)
    assert failed(lake, "ingest", "k").failed == ["files_torn"]


def test_a_file_changed_behind_the_catalog_is_found(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest")
    path = tmp_path / "lake" / lake.files("pairs", "k")[0].path
    rows = pq.read_table(path)
    pq.write_table(rows.set_column(rows.column_names.index("width"), "width", rows["width"].cast("int64")), path)
    assert failed(lake, "ingest", "k").failed == ["files_off_schema"]


@pytest.mark.parametrize(("quarantined", "verdict"), [(2, []), (30, ["quarantined_share"])])
def test_a_captioning_step_that_quarantines_many_rows_fails(
    tmp_path: Path, quarantined: int, verdict: list[str]
) -> None:
    lake = open_world(tmp_path)
    for step in list(STEPS)[: list(STEPS).index(DENSE)]:
        commit(lake, World("k"), step)
    commit(lake, World("k"), DENSE, quarantined=quarantined)
    assert [one for one in failed(lake, DENSE, "k").failed if one.startswith("quarantined")] == verdict


def test_rows_that_no_account_explains_are_found(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", dropped=3, quarantined=2)
    table = lake.table("pairs")
    name = "kale.committed.k"
    with table.transaction() as change:
        change.set_properties({name: table.properties[name].replace('"rule":3', '"rule":2')})
    assert failed(lake, "ingest", "k").failed == ["rows_unexplained"]


def test_rows_of_an_input_that_nobody_read_are_found(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k")
    commit(lake, world, "ingest")
    commit(lake, world, "images", lambda rows: rows[:-50], dropped=0)
    assert failed(lake, "images", "k").failed == ["rows_unread"]


def test_lineage_that_does_not_name_its_input_is_found(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k")
    commit(lake, world, "ingest")
    commit(lake, world, "images", built_on=[])
    assert failed(lake, "images", "k").failed == ["lineage_gaps"]


def test_an_input_that_moved_on_is_worth_a_look(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k")
    commit(lake, world, "ingest")
    commit(lake, world, "images")
    commit(lake, world, "ingest", each(dup_count=2))
    assert check_run(lake, lake.settings, "images", "k").warnings == ["inputs_stale"]


def test_a_torn_encoding_is_counted_and_not_raised(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", share(0.1, text="x\udcff"[:1] + "\ufffd"))
    assert "mojibake_share" in failed(lake, "ingest", "k").failed


def test_a_check_that_raises_is_an_error_and_no_verdict_on_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import great_expectations.expectations as gxe

    from kale_tasks.quality.suites.common import expect
    from kale_tasks.quality.suites.pairs import PairsSuite

    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest")
    wrong = expect("nonsense", "A broken pattern", gxe.ExpectColumnValuesToMatchRegex, column="uid", regex="(")
    monkeypatch.setattr(PairsSuite, "expectations", lambda suite: [wrong])
    with pytest.raises(KaleError, match=r"the data was not judged.*nonsense") as error:
        check_run(lake, lake.settings, "ingest", "k")
    assert not isinstance(error.value, BadData)
    assert stored(lake, "ingest", "k").status == "broken"


def test_a_verdict_holds_no_row(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("ingest")
    commit(lake, world, "ingest", share(0.05, alt_text="private words", text=" "))
    text = str(failed(lake, "ingest", "ingest").as_json())
    assert "private words" not in text and world.pairs[0]["uid"] not in text and len(text) < 20_000


def test_a_large_key_is_looked_at_by_a_stated_sample(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"quality.engine": "pandas", "quality.pandas_rows": 120})
    commit(lake, World("k"), "ingest")
    result = check_run(lake, lake.settings, "ingest", "k")
    assert (result.looked_at, result.rows) == (120, 300)


@pytest.mark.nightly
def test_spark_and_pandas_come_to_the_same_verdict(tmp_path: Path) -> None:
    rare = {"type": "expect_column_values_to_not_match_regex", "kwargs": {"column": "text", "regex": "sorry"}}
    write(tmp_path, "texts.json", rare, {"type": "expect_table_row_count_to_be_between", "kwargs": {"max_value": 9}})
    lake, world = lake_of(tmp_path, **{"quality.engine": "spark", "ingest.spark.master": "local[1]"}), World("k")
    commit(lake, world, "ingest")
    commit(lake, world, "images")
    spoil = share(0.1, text="I'm sorry, but I cannot help with that image.", tokens_out=0)
    commit(lake, world, DENSE, spoil)
    on_spark = failed(lake, DENSE, "k")
    quality = lake.settings.quality.model_copy(update={"engine": "pandas"})
    settings = lake.settings.model_copy(update={"quality": quality})
    on_pandas = examine(Subject.of_committed(lake, settings, DENSE, "k"))
    assert (on_spark.engine, on_pandas.engine) == ("spark", "pandas")
    assert on_spark.figures == pytest.approx(on_pandas.figures)
    assert on_spark.lengths == on_pandas.lengths
    assert on_spark.checks == on_pandas.checks
    seen = {one.seen for one in on_spark.checks if one.suite == "house_rules"}
    assert seen == {float(sum("sorry" in row["text"] for row in spoil(world.dense))), float(len(world.dense))}


def test_an_unknown_step_or_an_empty_key_says_what_to_do(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    with pytest.raises(BadConfig, match="Steps: ingest, images"):
        check_run(lake, lake.settings, "cook", "k")
    with pytest.raises(Conflict, match="pairs nothing is not committed yet"):
        check_run(lake, lake.settings, "ingest", "nothing")


@pytest.mark.parametrize(
    ("figure", "low", "high", "status"),
    [(0.5, 0.5, None, "passed"), (0.5, None, 0.5, "passed"), (0.4, 0.5, None, "failed"), (0.6, 0.5, 0.5, "failed"),
     (float("nan"), None, 1, "failed"), (None, 1, 2, "skipped")],
)  # fmt: skip
def test_a_figure_is_compared_with_its_limits(
    figure: float | None, low: float | None, high: float | None, status: str
) -> None:
    (outcome,) = check_figures([Limit("share", "critical", "A share", low, high)], {"share": figure})
    assert outcome.status == status


def test_a_failed_check_of_the_first_step_leaves_a_report(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", first_twice)
    sets = [f"warehouse={lake.settings.warehouse}", f"landing={lake.settings.landing}"]
    answer = kale("check", "ingest", "--key", "k", sets=sets)
    assert answer.code == 3 and "Every uid is unique: saw 2, wanted 0 (uid_unique)" in answer.complaint
    page = read_report(lake.storage, "k", "html")
    assert page and b"uid_unique" in page
