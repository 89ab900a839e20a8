"""Checks pass clean data and fail spoilt data, each for the right reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kale_tasks.contract.registry import step_spec
from kale_tasks.errors import BadConfig, BadData, Conflict, KaleError
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import accept, failed_check
from kale_tasks.quality import verdict
from kale_tasks.quality.check import check_run, examine
from kale_tasks.quality.expectations import check_figures
from kale_tasks.quality.stored import read_report
from kale_tasks.quality.suite import Limit, Subject, find_suite
from kale_tasks.quality.verdict import CheckResult
from tests.kale import kale
from tests.quality.world import STEPS, Rows, World, commit, commit_all, open_world

Spoil = Callable[[Rows], Rows]


def each(**changes: Any) -> Spoil:
    """Every row with some columns replaced: by a value, or by a function of the row."""
    return share(1.0, **changes)


def share(part: float, **changes: Any) -> Spoil:
    """The same for a share of the rows, spread evenly."""

    def spoil(rows: Rows) -> Rows:
        hit = {int(i / part) for i in range(int(len(rows) * part) + 1)}
        return [
            row | {c: v(row) if callable(v) else v for c, v in changes.items()} if i in hit else row
            for i, row in enumerate(rows)
        ]

    return spoil


def swapped(a: str, b: str) -> Spoil:
    """Two columns in each other's place."""
    return each(**{a: lambda row: row.get(b), b: lambda row: row.get(a)})


def first_twice(rows: Rows) -> Rows:
    return [rows[0], *rows]


def shuffled(rows: Rows) -> Rows:
    return [*rows[150:], *rows[:150]]


def last_part_elsewhere(rows: Rows) -> Rows:
    return [*rows[:200], *each(key="1999-01-01")(rows[200:])]


def shifted(column: str) -> Spoil:
    """Each row with the value of the next one."""
    return lambda rows: [a | {column: b[column]} for a, b in zip(rows, [*rows[1:], rows[0]], strict=True)]


def failing(part: float, reason: str) -> Spoil:
    lost = dict.fromkeys(("shard", "offset", "length", "sha256", "sha256_matches", "width", "height", "mime"))
    return share(part, status="failed", reason=reason, **lost)


def appended(column: str, text: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: f"{row[column]} {text}"


# name of the defect: (step, how its rows are spoilt, the check that must fail)
DEFECTS: dict[str, tuple[str, Spoil, str]] = {
    "url and alt-text swapped": ("ingest", swapped("url", "text"), "url_form"),
    "a row twice": ("ingest", first_twice, "uid_unique"),
    "parts out of order": ("ingest", shuffled, "order_breaks"),
    "uid in upper case": ("ingest", each(uid=lambda r: r["uid"].upper()), "uid_form"),
    "a part of another key": ("ingest", last_part_elsewhere, "rows_missing"),
    "unknown split": ("ingest", share(0.05, split="test"), "split_known"),
    "empty alt-text": ("ingest", share(0.05, alt_text="", text=" "), "blank_never"),
    "no url": ("ingest", share(0.02, url=None), "url_there"),
    "file path as url": ("ingest", share(0.02, url="file:///etc/passwd"), "url_form"),
    "mojibake": ("ingest", share(0.1, text="CafÃ© de la gare Ã  Genève"), "mojibake_share"),
    "one alt-text for many": ("ingest", share(0.2, text="buy cheap shoes online"), "text_copies"),
    "nearly all rows dropped": ("ingest", lambda rows: rows[:1], "kept_share"),
    "no row at all": ("ingest", lambda rows: [], "rows"),
    "clip scores in percent": ("ingest", each(clip_b32=lambda r: r["clip_b32"] * 100), "clip_b32_range"),
    "dead resolver": ("images", failing(0.4, "dns"), "dns_share"),
    "dead network": ("images", failing(0.05, "unreachable"), "unreachable_share"),
    "almost no image came": ("images", failing(0.9, "http_404"), "yield_share"),
    "one placeholder picture": ("images", share(0.3, sha256="ab" * 32), "placeholder_share"),
    "bytes changed": ("images", each(sha256_matches=False), "sha256_drift_share"),
    "images of strangers": ("images", share(0.05, uid=lambda r: f"{r['uid'][:-4]}0000"), "orphans"),
    "shifted offsets": ("images", each(offset=lambda r: r.get("offset", 0) + 7), "members_unreadable"),
    "shard that is not there": ("images", each(shard="images/nowhere.tar"), "members_unreadable"),
    "width and height swapped": ("images", swapped("width", "height"), "members_unreadable"),
    "failed without a reason": ("images", failing(0.03, ""), "unexplained_never"),
    "came without a hash": ("images", share(0.05, sha256=None), "incomplete_never"),
    "split changed": ("images", share(0.2, split="holdout"), "split_changed"),
    "refusals": ("dense", share(0.03, text="I'm sorry, but I cannot help with that image."), "refusal_share"),
    "cut tails": ("dense", share(0.2, finish_reason="length"), "truncated_share"),
    "loops": ("dense", share(0.05, text="a red boat and " * 12), "loop_share"),
    "another language": ("dense", share(0.2, text="Ein rotes Boot liegt vor dem alten Haus"), "foreign_share"),
    "one caption for all": ("dense", each(text="A picture of something in a place."), "text_copies"),
    "one word": ("dense", each(text=lambda r: r["text"].split()[1]), "words_mean"),
    "no model named": ("dense", each(model=None), "model_there"),
    "leaked prompt": ("fuse", share(0.03, caption=appended("caption", "The alt-text names it.")), "leaked_share"),
    "chat template left": ("fuse", share(0.03, caption=appended("caption", "<|im_end|>")), "leaked_share"),
    "invented facts": ("fuse", each(facts=9, facts_invented=4), "invented_share"),
    "alt-text never used": ("fuse", each(facts_from_alt=0), "alt_used_share"),
    "alt-text as caption": ("fuse", share(0.2, caption=lambda r: r["alt_text"]), "copied_share"),
    "captions of the neighbour": ("fuse", shifted("dense_caption"), "dense_changed"),
    "alt-text rewritten": ("fuse", each(alt_text=lambda r: r["alt_text"].lower()), "alt_changed"),
    "more facts from the alt-text than facts": ("fuse", each(facts_from_alt=5), "facts_from_alt_within_facts"),
    "no caption": ("fuse", share(0.02, caption=None), "caption_there"),
    "student ignores the alt-text": ("student", share(0.7, facts_from_alt=0), "student_alt_gap"),
    "no models named": ("student", each(models=[]), "nameless_never"),
    "no tokens": ("student", each(tokens_out=0), "tokens_out_range"),
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a clean world under a key of each step's own: what comes before the step, ready for its defects."""
    lake = open_world(tmp_path_factory.mktemp("quality"))
    for step in STEPS:
        world = World(step)
        for before in list(STEPS)[: list(STEPS).index(step)]:
            commit(lake, world, before)
    check_run(lake, lake.settings, "fuse", "student")
    return lake


def failed(lake: Lake, step: str, key: str) -> CheckResult:
    """The stored result of checks that must fail."""
    with pytest.raises(BadData):
        check_run(lake, lake.settings, step, key)
    return stored(lake, step, key)


def stored(lake: Lake, step: str, key: str) -> CheckResult:
    slice_ = {"fuse": {"stage": 1}, "student": {"stage": 2}}.get(step, {})
    committed = lake.committed(STEPS[step], key, slice_)
    assert committed
    result = verdict.read(lake, STEPS[step], key, committed.fingerprint)
    assert result
    return result


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_fails_its_check(defect: str, lake: Lake) -> None:
    step, spoil, check = DEFECTS[defect]
    commit(lake, World(step), step, spoil)
    if check == "sha256_drift_share":
        assert check in check_run(lake, lake.settings, step, step).warnings
    else:
        assert check in failed(lake, step, step).failed


def test_twenty_clean_keys_raise_no_alarm(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"quality.drift.least_rows": 50})
    for seed in range(20):
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
        commit_all(lake, World(f"2026-11-0{day + 1}"), "dense")
        check_run(lake, lake.settings, "dense", f"2026-11-0{day + 1}")
    commit_all(lake, World("2026-11-05"), "images")
    commit(lake, World("2026-11-05"), "dense", each(text=lambda r: f"{r['text']} {r['text']}"))
    assert failed(lake, "dense", "2026-11-05").failed == ["length_psi"]
    commit(lake, World("2026-11-05"), "dense", share(0.4, text=lambda r: "The boat, a tower; some river, old walls."))
    assert {"length_psi", "text_copies"} <= set(failed(lake, "dense", "2026-11-05").failed)
    commit_all(lake, World("2026-11-05"), "dense")
    assert check_run(lake, lake.settings, "dense", "2026-11-05").status == "passed"


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
    lake.storage.delete(lake.files("pairs", "k")[1].path)
    assert failed(lake, "ingest", "k").failed == ["files_torn"]


def test_a_file_changed_behind_the_catalog_is_found(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest")
    path = tmp_path / "lake" / lake.files("pairs", "k")[0].path
    rows = pq.read_table(path)
    pq.write_table(rows.set_column(rows.column_names.index("width"), "width", rows["width"].cast("int64")), path)
    assert failed(lake, "ingest", "k").failed == ["files_off_schema"]


def test_rows_that_no_account_explains_are_found(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    commit(lake, World("k"), "ingest", dropped=3, quarantined=2)
    table = lake.table("pairs")
    name = "kale.committed.k"
    with table.transaction() as change:
        change.set_properties({name: table.properties[name].replace('"rule": 3', '"rule": 2')})
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


def test_a_failed_check_blocks_the_key_until_it_is_accepted_or_the_rows_are_replaced(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k")
    commit(lake, world, "ingest", each(dup_count=0))
    assert failed_check(lake, "pairs", "k") is None
    failed(lake, "ingest", "k")
    assert failed_check(lake, "pairs", "k") == (
        "pairs k failed its checks: dup_count_range. Run ingest again, or accept the rows: "
        '`kale check ingest --key k --accept "reason"`.'
    )
    assert failed_check(lake, "pairs", "another") is None
    accept(lake, "pairs", "k", {}, "counted elsewhere")
    assert failed_check(lake, "pairs", "k") is None
    accepted = check_run(lake, lake.settings, "ingest", "k").accepted
    assert accepted and accepted["why"] == "counted elsewhere"
    commit(lake, world, "ingest", each(dup_count=-1))
    failed(lake, "ingest", "k")
    assert failed_check(lake, "pairs", "k"), "an acceptance is for one run, not for the next"
    commit(lake, world, "ingest")
    assert failed_check(lake, "pairs", "k") is None


def test_a_mark_on_one_stage_does_not_stop_the_other(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path), World("k")
    commit_all(lake, world)
    commit(lake, world, "fuse", each(caption=None))
    failed(lake, "fuse", "k")
    assert failed_check(lake, "captions", "k", {"stage": 1})
    assert failed_check(lake, "captions", "k", {"stage": 2}) is None
    assert failed_check(lake, "captions", "k")


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
    assert failed_check(lake, "pairs", "k") is None


def test_a_verdict_holds_no_row(lake: Lake) -> None:
    world = World("ingest")
    commit(lake, world, "ingest", share(0.05, alt_text="private words", text=" "))
    text = str(failed(lake, "ingest", "ingest").as_json())
    assert "private words" not in text and world.pairs[0]["uid"] not in text and len(text) < 20_000


def test_a_large_key_is_looked_at_by_a_stated_sample(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"quality.engine": "pandas", "quality.pandas_rows": 120})
    commit(lake, World("k"), "ingest")
    result = check_run(lake, lake.settings, "ingest", "k")
    assert (result.looked_at, result.rows) == (120, 300)


def test_spark_and_pandas_come_to_the_same_verdict(tmp_path: Path) -> None:
    lake, world = open_world(tmp_path, **{"quality.engine": "spark", "ingest.spark.master": "local[1]"}), World("k")
    commit(lake, world, "ingest")
    commit(lake, world, "images")
    commit(lake, world, "dense", share(0.1, text="I'm sorry, but I cannot help with that image.", tokens_out=0))
    on_spark = failed(lake, "dense", "k")
    quality = lake.settings.quality.model_copy(update={"engine": "pandas"})
    settings = lake.settings.model_copy(update={"quality": quality})
    on_pandas = examine(Subject(lake, settings, step_spec("dense"), "k", find_suite("dense")))
    assert (on_spark.engine, on_pandas.engine) == ("spark", "pandas")
    assert on_spark.figures == pytest.approx(on_pandas.figures)
    assert on_spark.lengths == on_pandas.lengths
    assert on_spark.checks == on_pandas.checks


def test_an_unknown_step_or_an_empty_key_says_what_to_do(lake: Lake) -> None:
    with pytest.raises(BadConfig, match="Steps with checks: ingest, images"):
        check_run(lake, lake.settings, "cook", "k")
    with pytest.raises(Conflict, match="Run ingest first"):
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
    assert answer.code == 3 and "uid_unique is 2 (at most 0 allowed), expected: Every uid is unique" in answer.complaint
    page = read_report(lake.storage, "k", "html")
    assert page and b"uid_unique" in page
