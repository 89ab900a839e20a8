"""Takedowns: rows leave a committed lake, its releases and every file, and do not come back."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from kale_tasks.contract.registry import StepSpec
from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake import reviews
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.reviews import EDIT, Review
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tombstones import digest
from kale_tasks.progress import Silent
from kale_tasks.quality import integrity
from kale_tasks.quality.committed import find as find_committed
from kale_tasks.quality.stored import published_version, put_published, put_report, report_names
from kale_tasks.quality.suite import Subject
from kale_tasks.release.built import read
from kale_tasks.release.diff import diff
from kale_tasks.release.publish import target
from kale_tasks.runner.repair import repair
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute, plan
from kale_tasks.takedown.certificate import finish, traces
from kale_tasks.takedown.sweep import take_down
from tests.kale import kale
from tests.release.conftest import World, world
from tests.release.world import Ingest, image, pipeline, uid
from tests.takedown.requests import REMOVED, REQUEST, SPECS, TABLES, files_with, take, uids


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


@pytest.mark.parametrize("request_", [REQUEST, {"uid": ["f" * 32]}], ids=["of rows", "of no row"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_an_unreadable_file_is_named_and_the_advice_works(
    one: World, spec: StepSpec, request_: dict[str, list[str]]
) -> None:
    path = one.lake.files(spec.table, "a", spec.slice)[0].path
    one.lake.storage.put(path, b"truncated")
    with pytest.raises(BadData, match=f"{path} of key a cannot be read: .* Run `kale repair --key a`.* repeat the"):
        take(one, **request_)
    assert repair(one.lake, one.settings, Silent(), key="a", specs=SPECS).left == {}
    take(one, **request_)
    assert not set(uids(one, spec.table, "a")) & set(REMOVED if request_ == REQUEST else request_["uid"])


@pytest.mark.parametrize(
    ("where", "named", "problem"),
    [
        ("header", "by its hash", "it has other bytes"),
        ("image", "by its hash", "it has other bytes"),
        ("header", "by its number", "it has no image at"),  # as by an earlier version
    ],
)
def test_a_damaged_shard_is_named_and_no_image_is_left_out(
    one: World, where: str, named: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named == "by its number":
        monkeypatch.setattr("kale_tasks.runner.rewrite_files.recorded_hash", lambda _: "")
    rows = one.lake.arrow("images", "a").sort_by("offset").to_pylist()
    shard = next(row["shard"] for row in rows if row["uid"] in REMOVED)
    offset = [row["offset"] for row in rows if row["shard"] == shard][2]
    data = bytearray(one.lake.storage.read(shard))
    data[offset - 400 if where == "header" else offset] ^= 255
    one.lake.storage.put(shard, bytes(data))
    with pytest.raises(BadData, match=f"{shard} cannot be read: {problem} .* Run `kale repair --key a`"):
        take(one, **REQUEST)
    assert repair(one.lake, one.settings, Silent(), key="a", specs=SPECS).left == {}
    take(one, **REQUEST)
    assert not set(uids(one, "images", "a")) & set(REMOVED)


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
    read = one.lake.committed("captions", "a", {"recipe": "kale", "stage": 1})
    assert read
    trained = {
        "learnt": ({"a": read.identity}, "kale"),
        "other-recipe": ({"a": read.identity}, "capsfusion"),
        "older-run": ({"a": "content of captions that were made again since"}, "kale"),
        "other-key": ({"a-late": read.identity}, "kale"),
    }
    students = [SimpleNamespace(version=v, parents=p, recipe=r) for v, (p, r) in trained.items()]
    monkeypatch.setattr("kale_tasks.models.students.versions", lambda _: students)
    certificate = finish(one.lake, one.settings, record, now=True)
    assert certificate["students_trained_on_these_keys"] == ["learnt", "older-run", "other-recipe"]
    assert certificate["students_that_learnt_from_these_rows"] == ["learnt"]


def test_a_student_of_other_rows_of_the_key_has_not_learnt_from_those_removed(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of stage 2 teach nobody."""
    second = next(uid("a", n) for n in range(120) if uid("a", n)[1] in "012")
    record = take(one, uid=[second])
    read = one.lake.committed("captions", "a", {"recipe": "kale", "stage": 1})
    student = SimpleNamespace(version="s1", parents={"a": read.identity if read else ""}, recipe="kale")
    monkeypatch.setattr("kale_tasks.models.students.versions", lambda _: [student])
    certificate = finish(one.lake, one.settings, record, now=True)
    assert certificate["students_that_learnt_from_these_rows"] == []


def test_the_command_reads_values_from_stdin_and_checks_the_keys(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("# requests\n" + "\n".join(REQUEST["uid"])))
    answer = kale(
        "takedown", "--list", "-", "--json", sets=[*one.sets, "ingest.lists.evaluation=null", "images.evaluation=null"]
    )
    assert answer.code == 0, answer.err
    assert answer.json["rows"]["a"]["pairs"] == 6 and "ingest a" in answer.json["checks"]
    assert not set(uids(one, "pairs", "a")) & set(REQUEST["uid"])
    again = kale("takedown", "--end", answer.json["name"], "--list", "-", sets=one.sets)
    assert (again.code, "Name either" in again.complaint) == (2, True)
    on_the_line = kale("takedown", "--uid", REQUEST["uid"][0], sets=one.sets)
    assert (on_the_line.code, "No such option" in on_the_line.complaint) == (2, True)


def test_a_dry_run_counts_what_a_list_names_by_key_and_removes_nothing(it: World, tmp_path: Path) -> None:
    (listed := tmp_path / "list").write_text("\n".join([*REQUEST["uid"], *REQUEST["url"], "pattern no such words"]))
    before = {(table, key): uids(it, table, key) for table in TABLES for key in "abc"}
    answer = kale("takedown", "--list", str(listed), "--dry-run", "--json", sets=it.sets)
    assert (answer.code, answer.json) == (0, {"rows": {"a": 6, "b": 1}}), answer.err
    assert {(table, key): uids(it, table, key) for table in TABLES for key in "abc"} == before
    assert not list(it.lake.storage.entries("takedowns"))
    listed.write_text("pattern .")
    everything = kale("takedown", "--list", str(listed), "--dry-run", sets=it.sets)
    first, *by_key = everything.out.splitlines()
    assert (first, by_key) == ("The list names 360 rows. Nothing was removed.", ["a: 120", "b: 120", "c: 120"])
    ending = kale("takedown", "--end", "x", "--dry-run", sets=it.sets)
    assert (ending.code, "--dry-run is for --list" in ending.complaint) == (2, True)


def test_what_people_said_of_a_row_goes_with_it(it: World, tmp_path: Path) -> None:
    said = [
        Review(uid("a", n), "a", EDIT, "ada", "kale/1", text=f"What uid {uid('a', n)} should be.") for n in (0, 1, 30)
    ]
    for one in said:  # each in a file of its own, which holds the ones before
        reviews.add(it.lake, "a", [one])
    record = take(it, **REQUEST)
    assert reviews.read(it.lake, "a")["uid"].to_pylist() == [uid("a", 30)]
    assert record["keys"]["a"]["rows"]["reviews"] == 2
    it.release("c")
    it.publish("c")
    finish(it.lake, it.settings, record, now=True)
    assert files_with(tmp_path, [f"What uid {uid('a', 0)}".encode()]) == []


def test_a_report_that_shows_a_removed_row_is_deleted_at_once_and_others_stay(it: World) -> None:
    put_report(it.lake.storage, "a", f"<p>{REQUEST['uid'][0]}</p>", {"rows": 1}, {"key": "a", "at": "2026-11-01"})
    put_report(it.lake.storage, "release-x", "<p></p>", {"uid": REMOVED[-1]}, {"at": "2026-11-01"})
    put_report(it.lake.storage, "b", f"<p>{uid('b', 1)}</p>", {"rows": 1}, {"key": "b", "at": "2026-11-01"})
    put_published(it.lake.storage, "x")
    record = take(it, **REQUEST)
    assert report_names(it.lake.storage).keys() == {"b"} and published_version(it.lake.storage) == "x"
    put_report(it.lake.storage, "a", f"<p>{REQUEST['uid'][0]}</p>", {"rows": 1}, {"key": "a", "at": "2026-11-01"})
    it.release("c")
    it.publish("c")
    finish(it.lake, it.settings, record, now=True)
    assert report_names(it.lake.storage).keys() == {"b"}
