"""Takedowns: rows leave a committed lake, its releases and every file, and do not come back."""

import io
import json
import sqlite3
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake import commit
from kale_tasks.lake.commit import Swap
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tombstones import Matcher, digest
from kale_tasks.progress import Silent
from kale_tasks.quality import integrity
from kale_tasks.quality.committed import find as find_committed
from kale_tasks.quality.suite import Subject
from kale_tasks.release.built import read
from kale_tasks.release.diff import diff
from kale_tasks.release.publish import target
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import commit as commit_run
from kale_tasks.runner.verbs import execute, plan, work
from kale_tasks.takedown.certificate import finish, traces
from kale_tasks.takedown.sweep import take_down
from tests.kale import kale
from tests.release.conftest import World, world
from tests.release.world import Ingest, image, pipeline, uid

TABLES = ("pairs", "images", "captions", "dedup_index")
REQUEST = {"uid": [uid("a", n) for n in range(6)], "url": [f"https://host{uid('b', 9)[0]}.example/{uid('b', 9)}.jpg"]}
REMOVED = [*REQUEST["uid"], uid("b", 9)]


@pytest.fixture
def it(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """Three keys, released in several formats and published in a folder."""
    sets = ["publish.formats=[mix,images,webdataset]", f"publish.target={tmp_path / 'out'}"]
    made = world("folder", tmp_path, request, *sets, "maintenance.grace_hours=0", "maintenance.run_days=0")
    made.fill("a", "b", "c")
    made.release("c")
    made.publish("c")
    return made


class Blind(Ingest):
    """An ingest that read the lists before the takedown was requested."""

    def _takedowns(self, run: Run) -> Matcher:
        return Matcher()


@pytest.fixture
def one(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    """One key, not released yet."""
    made = world("folder", tmp_path, request)
    made.fill("a")
    return made


def take(it: World, **request: list[str]) -> dict[str, Any]:
    return take_down(it.lake, it.settings, request, pipeline(120), Silent())


def uids(it: World, table: str, key: str) -> list[str]:
    return sorted(it.lake.arrow(table, key)["uid"].to_pylist())


def files_with(folder: Path, needles: list[bytes]) -> list[str]:
    """Return every file below a folder whose bytes, uncompressed if compressed, contain one of these."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += str(pq.read_table(path).to_pylist()).encode() + str(pq.read_metadata(path).to_dict()).encode()
        elif path.suffix == ".db":
            data += "\n".join(sqlite3.connect(path).iterdump()).encode()
        if any(needle in data for needle in needles):
            found.append(str(path))
    return found


def test_a_takedown_leaves_no_trace_in_any_file_and_all_other_rows_as_they_were(it: World, tmp_path: Path) -> None:
    other = {t: it.lake.arrow(t, "c") for t in TABLES}
    before = {(t, k): uids(it, t, k) for t in TABLES for k in "ab"}
    needles = [word for name in REMOVED for word in (name.encode(), image(name))]
    assert files_with(tmp_path, needles)
    record = take(it, **REQUEST)
    for (table, key), names in before.items():
        assert uids(it, table, key) == sorted(set(names) - set(REMOVED))
    it.release("c")
    it.publish("c")
    certificate = finish(it.lake, it.settings, record, now=True)
    assert files_with(tmp_path, needles) == []
    assert {t: it.lake.arrow(t, "c") for t in TABLES} == other
    assert certificate["sha256_of_uids"] == sorted(digest("uid", name) for name in REMOVED)
    assert certificate["rows"]["a"] == {"captions": 6, "dedup_index": 6, "images": 6, "pairs": 6}


def test_remaining_images_are_intact(it: World) -> None:
    take(it, **REQUEST)
    for key in "ab":
        for row in it.lake.arrow("images", key).to_pylist():
            assert it.lake.storage.read(row["shard"], row["offset"], row["length"]) == image(row["uid"])
        for shard in set(it.lake.arrow("images", key)["shard"].to_pylist()):
            with tarfile.TarFile(fileobj=io.BytesIO(it.lake.storage.read(shard))) as tar:
                assert not {member.name.partition(".")[0] for member in tar} & set(REMOVED)
    for name, committed in {**it.lake.partitions("pairs"), **it.lake.partitions("images")}.items():
        assert committed.rows_in == committed.rows + sum(committed.dropped.values()) + committed.quarantined, name


@pytest.mark.parametrize("part", [0, 1, 2])
def test_remaining_rows_are_sorted_and_accounted_for(tmp_path: Path, request: pytest.FixtureRequest, part: int) -> None:
    it = world("folder", tmp_path, request, "parts.part_rows=40")
    it.fill("b")
    names = uids(it, "pairs", "b")
    take(it, uid=names[40 * part : 40 * part + 3])
    left = [*names[: 40 * part], *names[40 * part + 3 :]]
    for step in (found.step for found in find_committed(it.lake, "b")):
        figures = integrity.figures(Subject.of_committed(it.lake, it.settings, step, "b"))
        broken = {name: figures[name] for name in ("order_breaks", "rows_unread", "rows_unexplained", "rows_missing")}
        assert not any(broken.values()), (step, broken)
    rows = Snapshot.open(it.lake, Partition("images", "b"))
    assert rows.read(0, rows.count, ["uid"])["uid"].to_pylist() == left


def test_a_takedown_makes_no_run_stale(it: World) -> None:
    take(it, **REQUEST)
    for key in it.lake.keys("pairs"):
        for step in pipeline(120):
            assert plan(Run(step, it.lake, it.settings, key)).committed, (step.name, key)


def test_a_committed_run_keeps_its_verdict_and_its_acceptance(it: World) -> None:
    before = it.lake.committed("images", "a")
    assert before and before.seal_id
    take(it, **REQUEST)
    after = it.lake.committed("images", "a")
    assert after and (after.rows, after.seal_id) == (before.rows - len(REQUEST["uid"]), before.seal_id)


def test_removed_rows_do_not_come_back(one: World) -> None:
    take(one, **REQUEST)
    execute(Run(Ingest(120), one.lake, one.settings, "a", again="again"))
    assert set(uids(one, "pairs", "a")) == {uid("a", n) for n in range(120)} - set(REMOVED)


def test_rows_are_matched_by_host_by_text_and_by_the_hash_of_their_image(it: World) -> None:
    some, another = uid("a", 50), uid("b", 60)
    sha256 = {r["uid"]: r["sha256"] for r in it.lake.arrow("images", "b").to_pylist()}[another]
    take(it, host=["HOST7.example."], pattern=[f"picture {some[:12]}"], sha256=[sha256])
    left = {name for key in "abc" for name in uids(it, "pairs", key)}
    everyone = {uid(key, n) for key in "abc" for n in range(120)}
    assert everyone - left == {name for name in everyone if name[0] == "7"} | {some, another}


def test_an_interrupted_takedown_is_finished_by_repeating_it(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real, swaps = commit.swap, list[str]()

    def swap_and_die(lake: Any, request: Swap) -> bool:
        if len(swaps) == 2:
            raise OSError("the machine dies")
        swaps.append(request.table)
        return real(lake, request)

    for module in ("kale_tasks.takedown.sweep", "kale_tasks.runner.commit"):
        monkeypatch.setattr(f"{module}.swap", swap_and_die)
    with pytest.raises(OSError, match="dies"):
        take(one, **REQUEST)
    monkeypatch.undo()
    take(one, **REQUEST)
    assert not {name for t in TABLES for name in uids(one, t, "a")} & set(REMOVED)
    test_a_takedown_makes_no_run_stale(one)


def test_a_commit_removes_rows_that_were_taken_down_since_its_plan(one: World) -> None:
    take(one, uid=[uid("d", 5)])
    committed = execute(Run(Blind(120), one.lake, one.settings, "d"))
    assert uids(one, "pairs", "d") == sorted({uid("d", n) for n in range(120)} - {uid("d", 5)})
    assert uid("d", 5) not in uids(one, "dedup_index", "d")
    assert committed.rows_in == committed.rows + sum(committed.dropped.values()) + committed.quarantined
    assert committed.content != committed.identity


def test_a_row_whose_url_was_taken_down_stays_out_of_tables_without_urls(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = pipeline(120)[-1]
    run = Run(step, one.lake, one.settings, "a", again="request")
    made = plan(run)
    take(one, url=[f"https://host{uid('a', 9)[0]}.example/{uid('a', 9)}.jpg"])
    for chunk in made.chunks:
        work(run, chunk)
    commit_run(run, made.model_copy(update={"base": one.lake.committed(step.table, "a", step.slice).origin}))
    assert uid("a", 9) not in uids(one, step.table, "a")


def test_a_takedown_between_reading_the_lists_and_the_swap_refuses_the_swap(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = commit.swap, list[str]()

    def take_first(lake: Any, request: Swap) -> Any:
        if request.table == "pairs" and not taken:
            taken.append("d")
            take(one, uid=[uid("d", 5)])
        return real(lake, request)

    monkeypatch.setattr("kale_tasks.runner.commit.swap", take_first)
    execute(Run(Blind(120), one.lake, one.settings, "d"))
    assert taken and uid("d", 5) not in uids(one, "pairs", "d")


def test_a_takedown_ends_only_after_a_clean_release(it: World) -> None:
    record = take(it, **REQUEST)
    with pytest.raises(Conflict, match="Run release"):
        finish(it.lake, it.settings, record, now=True)
    it.release("c")
    with pytest.raises(Conflict, match="Release and publish first"):
        finish(it.lake, it.settings, record, now=True)
    assert traces(it.lake, {digest("uid", REMOVED[0])}), "nothing was deleted yet"


def test_a_takedown_does_not_end_before_it_is_due(one: World) -> None:
    patient = one.with_("publish.takedown_days=3")
    record = take_down(patient.lake, patient.settings, REQUEST, pipeline(120), Silent())
    with pytest.raises(Conflict, match="--now"):
        finish(patient.lake, patient.settings, record)


def test_the_release_diff_counts_removed_rows(it: World) -> None:
    take(it, **REQUEST)
    it.release("c")
    found = diff(it.lake, read(it.lake, "c"), target(it.settings).current())
    assert (found.rows_out, found.rows_in, found.rows_changed) == (len(REMOVED), 0, 0)


def test_lists_and_records_contain_no_uid(one: World, tmp_path: Path) -> None:
    record = take(one, **REQUEST)
    for path in (tmp_path / "warehouse" / "takedowns" / record["name"]).rglob("*.json"):
        text = json.dumps(json.loads(path.read_text()))
        assert not any(name in text for name in REMOVED)


def test_an_unreadable_file_is_named_and_the_advice_works(one: World) -> None:
    path = one.lake.files("pairs", "a")[0].path
    one.lake.storage.put(path, b"truncated")
    with pytest.raises(BadData, match=f"{path} of key a cannot be read: .* run its step again .*--key a --again"):
        take(one, **REQUEST)
    execute(Run(Ingest(120), one.lake, one.settings, "a", again="again"))
    take(one, **REQUEST)
    assert not set(uids(one, "pairs", "a")) & set(REMOVED)


def test_a_damaged_file_is_named_when_a_takedown_ends(one: World) -> None:
    record = take(one, **REQUEST)
    path = one.lake.files("dedup_index", "a")[0].path
    one.lake.storage.put(path, b"truncated")
    with pytest.raises(BadData, match=f"{path} cannot be read"):
        finish(one.lake, one.settings, record, now=True)


@pytest.mark.parametrize(
    ("kind", "value"), [("uid", "xyz"), ("sha256", "ab" * 16), ("url", "photo.jpg"), ("host", "no host")]
)
def test_a_value_of_the_wrong_form_is_refused_without_repeating_it(one: World, kind: str, value: str) -> None:
    with pytest.raises(BadConfig, match=f"{kind} 1 of 1") as error:
        take(one, **{kind: [value]})
    assert value not in str(error.value)
    assert not one.lake.storage.exists("takedowns") and not list(one.lake.storage.entries("takedowns"))


def test_the_certificate_lists_students_of_these_keys_only(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record = take(one, **REQUEST)
    students = [SimpleNamespace(version=v, parents={key: "content"}) for v, key in (("s1", "a"), ("s2", "a-late"))]
    monkeypatch.setattr("kale_tasks.models.students.versions", lambda _: students)
    certificate = finish(one.lake, one.settings, record, now=True)
    assert certificate["students_trained_on_these_keys"] == ["s1"]


def test_the_command_reads_values_from_stdin_and_checks_the_keys(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("# requests\n" + "\n".join(REQUEST["uid"])))
    answer = kale(
        "takedown", "--list", "-", "--json", sets=[*one.sets, "ingest.lists.evaluation=null", "images.evaluation=null"]
    )
    assert answer.code == 0, answer.err
    assert answer.json["rows"]["a"]["pairs"] == 6 and "ingest a" in answer.json["checks"]
    assert not set(uids(one, "pairs", "a")) & set(REQUEST["uid"])
    again = kale("takedown", "--end", answer.json["name"], "--uid", REQUEST["uid"][0], sets=one.sets)
    assert (again.code, "--end takes no values" in again.complaint) == (2, True)
