"""A run is checked before it is committed: one that fails blocks its key, which keeps the rows it had."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from kale_tasks.contract.registry import find, step_spec
from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Plan
from kale_tasks.errors import BadData, Conflict
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import BlockedRun, blocked_run, comparison_set
from kale_tasks.quality.check import accept_run, check_run
from kale_tasks.quality.committed import find as find_runs
from kale_tasks.quality.report import check_and_report, make_report
from kale_tasks.quality.stored import read_report
from kale_tasks.runner.run import Run
from kale_tasks.runner.seal import seal
from kale_tasks.runner.verbs import commit, execute, plan, work
from kale_tasks.status import state
from tests.quality.defects import each, first_twice, share
from tests.quality.world import DENSE, STEPS, Given, World, given, open_world

KEY = "2026-11-02"
GARBLED = share(0.1, text=lambda row: f"{row['text']} CafÃ©")


def run_of(lake: Lake, step: str, spoil: Any = list, world: World | None = None, **more: Any) -> Run:
    """A run of a step with checks."""
    made = given(lake, world or World(KEY), step, spoil)
    made.suite = step_spec(step).suite
    return Run(cast("Step", made), lake, lake.settings, world.key if world else KEY, **more)


def checked(run: Run) -> Committed:
    """Run all verbs, as `kale run` does."""
    return execute(run, lambda sealed: check_and_report(run.lake, run.settings, sealed))


def block(lake: Lake, spoil: Any = first_twice) -> Run:
    """A run of ingest that fails its checks."""
    run = run_of(lake, "ingest", spoil)
    with pytest.raises(BadData):
        checked(run)
    return run


def texts(lake: Lake) -> list[str]:
    return [str(text) for text in lake.arrow("pairs", KEY, ["text"])["text"].to_pylist()]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with the pairs of one key, which passed their checks."""
    made = open_world(tmp_path)
    checked(run_of(made, "ingest"))
    return made


def test_a_failed_run_leaves_the_rows_that_the_key_had(lake: Lake) -> None:
    before = lake.committed("pairs", KEY), texts(lake)
    block(lake, share(0.1, text=" "))
    assert (lake.committed("pairs", KEY), texts(lake)) == before


def test_a_failed_first_run_leaves_the_key_empty(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    run = block(lake)
    assert lake.committed("pairs", KEY) is None
    assert state(lake, lake.settings, run.step, KEY)["state"] == "blocked"


def test_planning_a_blocked_run_again_says_what_to_do_and_makes_nothing(lake: Lake) -> None:
    block(lake)
    before = sorted(entry.path for entry in lake.storage.entries("pairs"))
    with pytest.raises(BadData, match=f"kale check ingest --key {KEY} --accept REASON") as error:
        plan(run_of(lake, "ingest", first_twice))
    assert "Every uid is unique: saw 2, wanted 0 (uid_unique)" in str(error.value)
    assert sorted(entry.path for entry in lake.storage.entries("pairs")) == before


def test_an_accepted_run_is_committed_without_new_work(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = block(lake)
    result = accept_run(lake, "ingest", KEY, "one pair was listed twice")
    assert result.accepted and result.accepted["why"] == "one pair was listed twice"
    monkeypatch.setattr(Given, "work", None)  # parts exist: nobody may ask for more
    assert checked(run_of(lake, "ingest", first_twice)).fingerprint == blocked.fingerprint
    (found,) = find_runs(lake, KEY)
    assert found.status == "accepted"


def test_an_acceptance_is_for_one_run_and_not_for_the_next(lake: Lake) -> None:
    block(lake)
    accept_run(lake, "ingest", KEY, "one pair was listed twice")
    block(lake, lambda rows: first_twice(first_twice(rows)))


def test_only_the_run_that_a_person_has_seen_is_accepted(lake: Lake) -> None:
    seen = block(lake)
    newer = block(lake, lambda rows: first_twice(rows)[:-1])
    with pytest.raises(Conflict, match="nothing was accepted"):
        accept_run(lake, "ingest", KEY, "fine", seen.fingerprint)
    with pytest.raises(BadData, match="is blocked"):
        plan(newer)
    accept_run(lake, "ingest", KEY, "fine", newer.fingerprint)
    assert not plan(newer).committed


def test_another_run_commits_and_ends_the_block(lake: Lake) -> None:
    run = block(lake)
    checked(run_of(lake, "ingest", each(dup_count=3)))
    assert blocked_run(lake, run.step.partition(KEY)) is None
    assert state(lake, lake.settings, run.step, KEY)["state"] == "stale", "its rows are not those of this step"


def test_looser_limits_pass_a_blocked_run_without_new_work(lake: Lake) -> None:
    block(lake, GARBLED)
    limits = lake.settings.quality.limits.model_copy(update={"mojibake_max": 0.5})
    quality = lake.settings.quality.model_copy(update={"limits": limits})
    settings = lake.settings.model_copy(update={"quality": quality})
    assert check_run(lake, settings, "ingest", KEY).status == "passed"
    assert not plan(run_of(lake, "ingest", GARBLED)).committed


def test_a_sealed_run_is_not_committed_before_it_was_checked(lake: Lake) -> None:
    run = run_of(lake, "ingest", each(dup_count=2))
    made = plan(run)
    for chunk in made.chunks:
        work(run, chunk)
    seal(run, made)
    with pytest.raises(Conflict, match=f"not checked. Run `kale run ingest --key {KEY}`"):
        commit(run, made)


def test_a_failed_run_is_not_committed_by_the_verb_alone(lake: Lake) -> None:
    run = block(lake)
    made = Plan.model_validate_json(lake.storage.read(f"{run.folder}/plan.json"))
    with pytest.raises(BadData, match="not committed: its checks failed"):
        commit(run, made)


def test_the_advice_for_a_run_that_was_requested_again_commits_it(lake: Lake) -> None:
    garbled = cast("Given", run_of(lake, "ingest", GARBLED).step)
    garbled.version = cast("Given", run_of(lake, "ingest").step).version  # type: ignore[misc]
    request = {"lake": lake, "settings": lake.settings, "key": KEY, "again": "request"}
    with pytest.raises(BadData, match=f"kale run ingest --key {KEY} --again --request request` commits it"):
        checked(Run(cast("Step", garbled), **request))
    accept_run(lake, "ingest", KEY, "known")
    assert checked(Run(cast("Step", garbled), **request)).because == ("request",)


def test_a_key_without_rows_passes_if_every_row_is_accounted_for(tmp_path: Path) -> None:
    lake = open_world(tmp_path)
    for step in ("ingest", "images"):
        checked(run_of(lake, step))
    for step in (DENSE, "student"):
        checked(run_of(lake, step, lambda rows: []))
        assert find_runs(lake, KEY)[-1].status in ("passed", "warned")


def test_a_landing_without_rows_passes(tmp_path: Path) -> None:
    lake, nothing = open_world(tmp_path), World(KEY, pairs=0)
    for step in STEPS:
        made = given(lake, nothing, step, list, dropped=0)
        made.suite = step_spec(step).suite
        checked(Run(cast("Step", made), lake, lake.settings, KEY))
    assert [found.status for found in find_runs(lake, KEY)] == ["passed"] * 5


def test_a_key_that_lost_all_rows_to_errors_is_blocked(lake: Lake) -> None:
    checked(run_of(lake, "images"))
    made = given(lake, World(KEY), DENSE, lambda rows: [], dropped=0, quarantined=300)
    made.suite = step_spec(DENSE).suite
    with pytest.raises(BadData, match=r"saw 300, wanted 0 \(emptied\)"):
        checked(Run(cast("Step", made), lake, lake.settings, KEY))


def test_a_broken_landing_file_does_not_empty_a_key_with_rows(lake: Lake) -> None:
    made = given(lake, World(KEY), "ingest", lambda rows: [], dropped=0, quarantined=1)
    made.suite = find("ingest").suite
    with pytest.raises(BadData, match=r"saw 0\.0 %, wanted at least .* \(kept_share\)"):
        checked(Run(cast("Step", made), lake, lake.settings, KEY))
    assert len(texts(lake)) == 300


def test_images_that_all_failed_are_not_committed(lake: Lake) -> None:
    lost = dict.fromkeys(("shard", "offset", "length", "sha256", "sha256_matches", "width", "height", "mime"))
    with pytest.raises(BadData, match=r"saw 0\.0 %, wanted at least .* \(yield_share\)"):
        checked(run_of(lake, "images", each(status="failed", reason="private_address", **lost)))
    assert lake.committed("images", KEY) is None


def test_the_report_is_on_the_blocked_run(lake: Lake) -> None:
    block(lake)
    page, summary = read_report(lake.storage, KEY, "html"), read_report(lake.storage, KEY, "summary.json")
    assert page and b"uid_unique" in page and summary
    assert (json.loads(summary)["status"], json.loads(summary)["pairs"]) == ("blocked", 301)
    checked(run_of(lake, "ingest"))
    accept_run(lake, "ingest", KEY, "known")
    assert make_report(lake, lake.settings, KEY).summary()["pairs"] == 300


def test_a_blocked_key_does_not_stop_what_reads_the_rows_it_had(lake: Lake) -> None:
    block(lake)
    committed = checked(run_of(lake, "images"))
    assert committed.inputs["pairs"] == lake.committed("pairs", KEY).content  # type: ignore[union-attr]


def test_a_run_is_compared_with_the_keys_that_were_committed_when_it_was_sealed(tmp_path: Path) -> None:
    lake = open_world(tmp_path, **{"quality.drift.least_rows": 50, "quality.drift.keys": 3})
    for day in range(1, 6):
        checked(run_of(lake, "ingest", world=World(f"2026-10-0{day}")))
    run = run_of(lake, "ingest", world=World(KEY))
    checked(run)
    verdict = find_runs(lake, KEY)[0].result
    assert verdict and sorted(verdict.compared) == ["2026-10-03", "2026-10-04", "2026-10-05"]
    checked(run_of(lake, "ingest", each(dup_count=2), world=World("2026-10-05")))
    assert check_run(lake, lake.settings, "ingest", KEY).compared == verdict.compared
    later = comparison_set(lake, Partition("pairs", KEY), 3)
    assert later["2026-10-05"] != verdict.compared["2026-10-05"]


def test_advice_about_captions_names_their_recipe() -> None:
    of = ("fuse", "captions", f"{KEY}/recipe=mine/stage=1", "folder", "0123", "4567", None, "", {}, ["few rows"], "")
    said = BlockedRun(*of).explain()
    assert f"`kale check fuse --key {KEY} --set caption.recipe=mine --accept REASON`" in said
    assert f"`kale run fuse --key {KEY} --set caption.recipe=mine`" in said
