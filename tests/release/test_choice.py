"""What a release takes and what it leaves out: it says both."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadConfig, BadData, Conflict
from kale_tasks.lake.marks import put_mark
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.verdicts import accept, verdict_path
from kale_tasks.pending import pending_work
from kale_tasks.release.built import Built, manifest, read
from kale_tasks.release.card import pages
from kale_tasks.release.files import ReleaseFile
from kale_tasks.release.shards import captions_of, shards_of
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from tests.release.conftest import Template, World, world
from tests.release.world import Fuse, Ingest, Student, Tars, uid


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Template:
    """Two keys of 40 rows."""
    folder = tmp_path_factory.mktemp("choice")
    made = world("folder", folder, request)
    made.fill("a", "b", rows=40)
    return Template(folder, made)


def keys_of(it: World) -> set[str]:
    return {row["source"] for row in it.lake.arrow("releases", "b").to_pylist()}


def judge(it: World, table: str, key: str, status: str, **slice_: Any) -> str:
    """Put a verdict on what is committed; returns the id of the sealed run."""
    committed = it.lake.committed(table, key, slice_)
    assert committed
    verdict = {"status": status, "failed": ["too_short"], "warnings": [], "broken": []}
    it.lake.storage.put(verdict_path(committed.seal_id), json.dumps(verdict).encode())
    return committed.seal_id


def card(built: Built, it: World) -> str:
    return pages(built, it.settings.publish)["README.md"].decode()


def test_stale_keys_are_left_out_and_the_card_says_so(it: World) -> None:
    execute(Run(Ingest(40, {"a": "new "}), it.lake, it.settings, "a"))
    it.release("b")
    built = read(it.lake, "b")
    assert keys_of(it) == {"b"}
    assert {name: why for name, (_, why) in built.left_out.items()} == {
        f"a/recipe=kale/stage={stage}": "made from rows that are replaced since" for stage in (1, 2)
    }
    assert sum(rows for rows, _ in built.left_out.values()) == 40
    assert "| a/recipe=kale/stage=1 |" in card(built, it) and json.loads(manifest(built))["left_out"]


def test_captions_of_images_that_are_stale_themselves_are_left_out(it: World) -> None:
    """They were assembled again from new pairs, but the images are still those of the old ones."""
    new = {"a": "new "}
    execute(Run(Ingest(40, new), it.lake, it.settings, "a"))
    for step in (Fuse(), Student()):
        execute(Run(step, it.lake, it.settings, "a"))
    it.release("b")
    assert keys_of(it) == {"b"}
    execute(Run(Tars(), it.lake, it.settings, "a"))
    for step in (Fuse(), Student()):
        execute(Run(step, it.lake, it.settings, "a", again="request"))
    it.release("b")
    assert keys_of(it) == {"a", "b"} and not read(it.lake, "b").left_out


@pytest.mark.parametrize(
    ("table", "slice_"), [("pairs", {}), ("images", {}), ("captions", {"recipe": "kale", "stage": 1})]
)
def test_a_key_with_a_failed_check_waits_until_a_person_accepts_it(
    it: World, table: str, slice_: dict[str, Any]
) -> None:
    failed = judge(it, table, "a", "failed", **slice_)
    it.release("b")
    assert "a" not in keys_of(it) or table == "captions"
    assert "a/recipe=kale/stage=1" in read(it.lake, "b").left_out
    accept(it.lake.storage, failed, "a short day")
    it.release("b")
    assert keys_of(it) == {"a", "b"} and "Nothing: every caption" in card(read(it.lake, "b"), it)


def test_warnings_leave_nothing_out(it: World) -> None:
    judge(it, "images", "a", "warned")
    it.release("b")
    assert keys_of(it) == {"a", "b"}


def test_a_key_that_is_left_out_does_not_wake_the_dag_of_releases_each_day(it: World) -> None:
    it.release("b")
    assert pending_work(it.lake, it.settings)["release"] == []
    it.fill("c", rows=20)
    assert pending_work(it.lake, it.settings)["release"] == ["c"]
    judge(it, "images", "c", "failed")
    assert pending_work(it.lake, it.settings)["release"] == []


def test_a_release_that_must_be_whole_is_refused_with_the_reasons(it: World) -> None:
    put_mark(it.lake.storage, Partition("pairs", "b"), "after-a-1", "a now keeps other entries")
    with pytest.raises(Conflict, match=r"captions b/recipe=kale/stage=1: its pairs may be in another key too.*unfit"):
        it.with_("publish.unfit=refuse").release("b")
    assert it.lake.committed("releases", "b") is None
    it.release("b")
    assert keys_of(it) == {"a"}


def test_a_release_with_nothing_left_says_why(it: World) -> None:
    for key in "ab":
        judge(it, "pairs", key, "failed")
    with pytest.raises(Conflict, match=r"Left out: captions a/recipe=kale/stage=1: failed its checks"):
        it.release("b")


class Repeating(Ingest):
    """Gives a key the rows of another one, as if no index had known them."""

    def work(self, run: Run, chunk: Any, numbers: Any) -> Iterator[Any]:
        rows = run.lake.arrow("pairs", "a").to_pylist()
        for part in super().work(run, chunk, numbers):
            kept = [{**row, "key": run.key} for row in rows]
            yield type(part)(part.number, pa.Table.from_pylist(kept), part.rows_in, {}, also=part.also)


def test_a_uid_in_two_keys_stops_the_release_with_the_names_of_the_keys(it: World) -> None:
    for step in (Repeating(40), Tars(), Fuse(), Student()):
        execute(Run(step, it.lake, it.settings, "d"))
    with pytest.raises(BadData, match=r"uids are in two captions of the recipe 'kale' \(keys a, d\).*--key d --again"):
        it.release("d")
    assert it.lake.committed("releases", "d") is None


def test_uids_are_compared_in_ranges_that_cover_them_all(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (Repeating(40), Tars(), Fuse(), Student()):
        execute(Run(step, it.lake, it.settings, "d"))
    monkeypatch.setattr("kale_tasks.release.unique._AT_ONCE", 7)
    with pytest.raises(BadData, match="uids are in two captions"):
        it.release("d")


def rows(it: World, files: list[ReleaseFile]) -> list[dict[str, Any]]:
    tables = [pq.read_table(Path(it.settings.warehouse, file.path)) for file in files]
    return pa.concat_tables(tables).to_pylist() if tables else []


class WithHoldout(Ingest):
    """Every eighth pair is held out."""

    def _row(self, key: str, name: str) -> dict[str, Any]:
        row = super()._row(key, name)
        return {**row, "split": "holdout"} if name[1] in "89" else row


def test_the_holdout_is_a_split_of_its_own_and_in_no_other_config(it: World) -> None:
    steps = [WithHoldout(60), Tars(), Fuse(), Student()]
    for step in steps:
        execute(Run(step, it.lake, it.settings, "d"))
    more = it.with_("publish.formats=[holdout,sentences]")
    more.release("d")
    built = read(more.lake, "d")
    expected = {uid("d", n) for n in range(60) if uid("d", n)[1] in "89"}
    found = rows(more, built.of("holdout"))
    assert {row["uid"] for row in found} == expected and len(found) == len(expected) > 3
    pairs = {row["uid"]: row for row in more.lake.arrow("pairs", "d").to_pylist()}
    assert all(row["alt_text"] == pairs[row["uid"]]["alt_text"] and row["url"] and row["sha256"] for row in found)
    assert not expected & {row["uid"] for row in rows(more, built.of("full"))}
    assert built.configs["holdout"].split == "holdout" and built.recipes == ["kale"]


def test_a_text_of_the_recipe_is_a_config_of_its_own(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Views(Fuse):
        def made(self, run: Run, number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            some = [json.dumps({"short": f"Short {row['uid'][:4]}."}) if row["uid"][0] < "8" else None for row in rows]
            texts = {row["uid"]: text for row, text in zip(rows, some, strict=True)}
            return [{**row, "also": texts[row["uid"]]} for row in super().made(run, number, rows)]

    execute(Run(Views(), it.lake, it.settings, "a", again="request"))
    with pytest.raises(BadConfig, match="no recipe lists 'shrot' in `also`"):
        it.with_("caption.recipe=views", "publish.formats=['view:shrot']").release("b")
    monkeypatch.setattr("kale_tasks.release.step._known_views", lambda _, formats: formats)
    more = it.with_("publish.formats=['view:short']")
    more.release("b")
    built = read(more.lake, "b")
    found = rows(more, built.of("view-short"))
    stage1 = it.lake.arrow("captions", "a", where="stage = 1").to_pylist()
    assert {r["uid"]: r["text"] for r in found} == {
        r["uid"]: f"Short {r['uid'][:4]}." for r in stage1 if r["uid"][0] < "8"
    }
    assert list(built.configs) == ["full", "core", "view-short"]


def test_licences_are_in_the_card_and_by_choice_in_a_config(it: World) -> None:
    licenses = "publish.licenses={captioner: apache-2.0, 'student@1': mit}"
    more = it.with_(licenses, "publish.formats=[licenses]")
    more.release("b")
    built = read(more.lake, "b")
    by_models = {tuple(row["models"]): row["licenses"] for row in rows(more, built.of("licenses"))}
    assert by_models == {("captioner@1", "fuser@1"): ["apache-2.0", None], ("student@1",): ["mit"]}
    table = card(built, more)
    assert "| `captioner@1` |" in table and "| apache-2.0 |" in table and "| not stated |" in table


def test_other_licences_make_other_files_only_where_a_column_has_them(it: World) -> None:
    plain = it.release("b")
    assert it.with_("publish.licenses={fuser: mit}").release("b") == plain
    more = it.with_("publish.formats=[licenses]")
    assert more.release("b") != more.with_("publish.licenses={fuser: mit}").release("b")


def test_files_of_a_key_have_a_folder_of_their_own(it: World) -> None:
    more = it.with_("publish.formats=[holdout,mix]")
    more.release("b")
    built = read(more.lake, "b")
    assert all(file.name.split("/")[-2] in "ab" for file in built.files)
    assert built.globs("full") == ["data/kale/stage1/*/*.parquet", "data/kale/stage2/*/*.parquet"]
    shards = shards_of(Run(Release(), more.lake, more.settings, "b"))
    assert all(
        captions_of(Run(Release(), more.lake, more.settings, "b"), s).count == s.stop for s in shards if s.recipe
    )
