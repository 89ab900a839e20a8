"""What is broken, closed, full or gone: one clear line, the right exit code, nothing torn, nothing lost."""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kale_tasks.runner.commit as committing
from kale_tasks.contract import registry as steps
from kale_tasks.lake import metadata
from kale_tasks.lake.storage.s3 import S3Storage
from kale_tasks.lake.tables import COMMITTED
from tests.faults.child import nth
from tests.kale import Answer, kale, kale_process
from tests.lakes import lake_of, lake_sets
from tests.services.postgres import PASSWORD, Postgres
from tests.services.s3 import S3

KEY = "2026-11-01"
OLD = sorted(str(v) for v in range(250) if v % 7 and v % 11)
NEW = sorted(f"new {v}" for v in range(50) if v % 7 and v % 11)
BAD_CONFIG, BAD_DATA, TRANSIENT = 2, 3, 4


@pytest.fixture(autouse=True)
def small_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """`kale run ingest` runs the small test step."""
    monkeypatch.setitem(
        steps.STEPS, "ingest", replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    )


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """The settings of a lake in a folder, with one key committed."""
    sets = lake_sets("folder", tmp_path)
    assert ingest(sets).code == 0
    return sets


@pytest.fixture
def s3_sets(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """The settings of a lake on S3 and PostgreSQL, with one key committed."""
    sets = lake_sets("s3", tmp_path, request)
    assert ingest(sets).code == 0
    return sets


def ingest(sets: list[str], *words: str) -> Answer:
    return kale("run", "ingest", "--key", KEY, *words, sets=sets)


def texts(sets: list[str]) -> list[str]:
    return sorted(lake_of(sets)[0].arrow("pairs", KEY)["alt_text"].to_pylist())


def says(answer: Answer, code: int, *words: str) -> bool:
    """Whether it failed with one line that holds the words, and with that code."""
    complaints = [line for line in answer.err.splitlines() if "rows/s" not in line]
    assert len(complaints) == 1 and complaints[0].startswith("kale: "), answer.err
    assert "unexpected" not in complaints[0] and all(word in complaints[0] for word in words), complaints[0]
    return answer.code == code


@pytest.mark.parametrize("key", ["../2026-11-01", "a/b", "..", "", "a\nb", "x" * 65])
@pytest.mark.parametrize("words", [["run", "ingest"], ["plan", "ingest"], ["show", "pairs"]])
def test_a_key_that_is_no_folder_name_is_refused(words: list[str], key: str, tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    before = sorted(tmp_path.rglob("*"))
    answer = kale(*words, "--key", key, sets=sets)
    assert says(answer, BAD_CONFIG, "cannot be a key")
    assert sorted(tmp_path.rglob("*")) == before


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda _: b"garbage" * 99,
    "half of it": lambda whole: whole[: len(whole) // 2],
    "scribbled over": lambda whole: whole[:100] + b"\xff" * 3000 + whole[3100:],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_unreadable_catalog_is_named_and_its_lake_is_not_changed(how: str, sets: list[str], tmp_path: Path) -> None:
    catalog = tmp_path / "warehouse" / "catalog.db"
    whole = catalog.read_bytes()
    catalog.write_bytes(BROKEN[how](whole))
    for words in (["run", "ingest", "--key", KEY], ["status"], ["show", "pairs", "--key", KEY]):
        assert says(kale(*words, sets=sets), BAD_CONFIG, "atalog")
    assert kale("maintain", sets=[*sets, "maintenance.grace_hours=0"]).code == BAD_CONFIG
    catalog.write_bytes(whole)
    assert texts(sets) == OLD


FUTURE = (b'"format-version":2', b'"format-version":9')
METADATA: dict[str, Callable[[bytes], bytes | None]] = {
    "half of it": lambda whole: whole[:300],
    "no text": lambda _: b"\xff\xfe\x00",
    "no table": lambda _: b"{}",
    "of the future": lambda whole: whole.replace(*FUTURE),
    "gone": lambda _: None,
}


@pytest.mark.parametrize("how", METADATA)
def test_metadata_that_cannot_be_read_is_named(how: str, sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(lake_of(sets)[0].table("pairs").metadata_location)
    whole = path.read_bytes()
    bad = METADATA[how](whole)
    assert bad != whole
    path.unlink() if bad is None else path.write_bytes(bad)
    monkeypatch.setattr(metadata, "_parsed", OrderedDict())  # as in a process that has not read it before
    for words in (["run", "ingest", "--key", KEY], ["show", "pairs", "--key", KEY]):
        assert says(kale(*words, sets=sets), BAD_DATA, "pairs", "restore" if how == "gone" else "copy")
    path.write_bytes(whole)
    assert texts(sets) == OLD


def test_a_lake_that_a_newer_version_committed_to_is_left_alone(sets: list[str]) -> None:
    table = lake_of(sets)[0].table("pairs")
    name = COMMITTED + KEY
    newer = json.loads(table.properties[name]) | {"a_word_of_the_future": 1}
    with table.transaction() as change:
        change.set_properties({name: json.dumps(newer)})
    for words in (["run", "ingest", "--key", KEY, "--again"], ["status"]):
        assert says(kale(*words, sets=sets), BAD_DATA, "Upgrade")
    assert texts(sets) == OLD


@pytest.mark.parametrize("bad", [b"PAR1 no more", None])
def test_a_damaged_data_file_is_named_and_made_again(bad: bytes | None, sets: list[str], tmp_path: Path) -> None:
    path = tmp_path / "warehouse" / lake_of(sets)[0].files("pairs", KEY)[0].path
    path.unlink() if bad is None else path.write_bytes(bad)
    out = tmp_path / "out.parquet"
    answer = kale("show", "pairs", "--key", KEY, "--out", str(out), sets=sets)
    assert says(answer, BAD_DATA, "pairs", KEY, "kale repair")
    assert not any("out.parquet" in path.name for path in tmp_path.iterdir())
    assert kale("repair", "--key", KEY, sets=sets).code == 0
    assert texts(sets) == OLD


def test_a_full_disk_loses_nothing_and_a_little_room_is_used(tmp_path: Path) -> None:
    may_mount = subprocess.run(["unshare", "--map-root-user", "--mount", "true"], check=False).returncode == 0
    alone, how = (["unshare", "--map-root-user", "--mount"], "disk") if may_mount else ([], "limit")
    command = [*alone, sys.executable, "-m", "tests.faults.cramped", how, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, *full, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert (before["texts"], last["code"], last["texts"]) == (OLD, 0, NEW)
    assert len({attempt["complaint"] for attempt in full}) >= 4
    # Readers see the old rows or all new ones; new ones once the main table is swapped, though side tables are not yet.
    shown = [attempt["texts"] for attempt in full]
    assert shown == [OLD] * shown.count(OLD) + [NEW] * shown.count(NEW)
    for attempt in full:
        assert attempt["code"] == TRANSIENT
        assert attempt["complaint"].startswith("kale: No space left for ")


@pytest.fixture
def closed(sets: list[str], tmp_path: Path) -> Iterator[list[str]]:
    """A lake that nobody may write, and the words that make root a nobody."""
    folders = [path for path in (tmp_path / "warehouse").rglob("*") if path.is_dir()]
    for folder in (tmp_path / "warehouse", *folders):
        folder.chmod(0o555)
    yield ["setpriv", "--bounding-set=-dac_override", "--"] if os.geteuid() == 0 else []
    for folder in (tmp_path / "warehouse", *folders):
        folder.chmod(0o755)


@pytest.mark.further
def test_a_closed_folder_can_be_read_and_not_written(sets: list[str], closed: list[str], tmp_path: Path) -> None:
    landing = tmp_path / "landing" / "2026-11-02" / "pairs.jsonl"
    landing.parent.mkdir(parents=True)
    landing.write_text('{"url": "https://a.example/1.jpg", "text": "A red kite over the harbour"}\n')
    bare = [*sets, "ingest.lists.evaluation=null"]
    planned = kale_process("plan", "ingest", "--key", "2026-11-02", sets=bare, before=closed)
    assert says(planned, BAD_CONFIG, "Permission denied", "Grant")
    shown = kale_process("show", "pairs", "--key", KEY, "--rows", "1000", "--json", sets=sets, before=closed)
    assert sorted(row["alt_text"] for row in shown.json) == OLD


def without(sets: list[str], *names: str) -> list[str]:
    return [text for text in sets if not text.startswith(names)]


def test_wrong_credentials_are_an_error_that_does_not_show_them(s3_sets: list[str]) -> None:
    secret = [*without(s3_sets, "s3.secret"), "s3.secret_access_key=not-the-secret"]
    database = next(text for text in s3_sets if text.startswith("catalog="))
    password = [*s3_sets, database.replace(f":{PASSWORD}@", ":not-the-secret@")]
    for wrong, word in ((secret, "secret"), (password, "password")):
        for words in (["run", "ingest", "--key", "2026-11-02"], ["show", "pairs", "--key", KEY], ["status"]):
            answer = kale(*words, sets=wrong)
            assert says(answer, BAD_CONFIG, word) and "not-the-secret" not in answer.err
    assert texts(s3_sets) == OLD


MOMENTS: dict[str, tuple[Any, str, Callable[..., bool]]] = {
    "in a part": (S3Storage, "put", nth(3, lambda _, path, *__: "/part-" in path)),
    "in the commit": (committing, "swap", nth(1, lambda _, request: request.table == "pairs")),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_store_that_goes_in_the_middle_loses_nothing(
    moment: str, tmp_path: Path, request: pytest.FixtureRequest, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = lake_sets("s3", tmp_path, request)
    owner, name, now = MOMENTS[moment]
    original = getattr(owner, name)

    def going(*args: Any, **kwargs: Any) -> Any:
        if now(*args, **kwargs):
            s3.stop()
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, going)
        answer = ingest(sets)
    s3.start()
    assert says(answer, TRANSIENT, "not answer", "again")
    assert texts(sets) == []
    assert ingest(sets).code == 0
    assert texts(sets) == OLD


def test_a_catalog_that_is_away_is_asked_for_again_later(s3_sets: list[str], postgres: Postgres) -> None:
    postgres.stop()
    try:
        assert says(ingest(s3_sets), TRANSIENT, "again later")
    finally:
        postgres.start()
    assert texts(s3_sets) == OLD
