"""The command line on a small sample: what each command does, for people and for machines."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kale_tasks.contract import registry as steps
from kale_tasks.lake.schemas import TABLES
from kale_tasks.settings.load import setting_names
from tests.kale import kale, kale_process
from tests.lakes import lake_of, lake_sets
from tests.steps import Numbers

KEY = "2026-11-01"


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The landing files of two keys, as `kale sample make` writes them."""
    folder = tmp_path_factory.mktemp("sample")
    assert kale("sample", "make", "--pairs", "60", "--keys", "2", "--out", str(folder)).code == 0
    return folder


def sets_of(landing: Path, warehouse: Path) -> list[str]:
    sets = [f"landing={landing}", f"warehouse={warehouse}", "parts.part_rows=20", "ingest.part_rows=10"]
    lake_of(sets)
    return sets


@pytest.fixture(scope="module")
def sets(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The settings of a lake with the pairs of one key; tests must not write to it."""
    sets = sets_of(landing, tmp_path_factory.mktemp("lake"))
    assert kale("run", "ingest", "--key", KEY, sets=sets).code == 0
    return sets


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The settings of an empty lake whose ingest is the small test step."""
    monkeypatch.setitem(
        steps.STEPS, "ingest", replace(steps.STEPS["ingest"], reference="tests.steps:Numbers", suite=None)
    )
    return lake_sets("folder", tmp_path)


def cell(rows: Any, key: str, step: str) -> dict[str, Any]:
    return next(row for row in rows if (row["key"], row["step"]) == (key, step))


@pytest.mark.nightly
def test_verbs_in_separate_processes_equal_run(landing: Path, sets: list[str], tmp_path: Path) -> None:
    mine = sets_of(landing, tmp_path)
    plan = kale_process("plan", "ingest", "--key", KEY, "--json", sets=mine).json
    chunks = [chunk["index"] for chunk in plan["chunks"]]
    name = ["ingest", "--key", KEY, "--fingerprint", plan["fingerprint"], "--json"]
    for chunk in chunks:
        assert kale_process("work", *name, "--chunk", str(chunk), sets=mine).json["kept"] > 0
    assert kale_process("seal", *name, sets=mine).json["rows"] > 0
    unchecked = kale_process("commit", *name, sets=mine)
    assert (unchecked.code, "sealed but not checked" in unchecked.complaint) == (5, True)
    assert kale_process("check", *name, sets=mine).json["status"] in ("passed", "warned")
    done = kale_process("commit", *name, sets=mine).json
    same = kale("run", "ingest", "--key", KEY, "--json", sets=sets).json
    varying = ("at", "snapshot_id", "commit", "origin")
    assert {n: v for n, v in done.items() if n not in varying} == {n: v for n, v in same.items() if n not in varying}


def test_work_takes_the_settings_that_change_rows_from_the_plan(sets: list[str]) -> None:
    made = kale("plan", "ingest", "--key", "2026-11-02", "--json", sets=sets).json
    name = ["ingest", "--key", "2026-11-02", "--fingerprint", made["fingerprint"]]
    other = kale("work", *name, "--chunk", "0", "--json", sets=[*sets, "ingest.rules.min_words=60"])
    assert (other.code, other.json["kept"] > 0) == (0, True), other.err
    strange = kale("work", *name, "--chunk", "99", sets=sets)
    assert (strange.code, "no chunk 99" in strange.complaint) == (2, True)


def test_status_goes_from_missing_to_committed_to_stale(landing: Path, sets: list[str]) -> None:
    now = kale("status", "--json", sets=sets).json
    assert cell(now, "2026-11-02", "ingest")["state"] == cell(now, KEY, "images")["state"] == "missing"
    assert (cell(now, KEY, "ingest")["state"], cell(now, KEY, "ingest")["rows"] > 0) == ("committed", True)
    later = kale("status", "--json", sets=[*sets, "ingest.rules.min_words=4"]).json
    assert cell(later, KEY, "ingest")["state"] == "stale"
    shown = kale("status", sets=sets).out
    assert KEY in shown and "missing" in shown


def test_show_prints_rows_or_writes_all_of_them_to_a_file(sets: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "pairs.parquet"
    done = kale("show", "pairs", "--key", KEY, "--out", str(out), "--json", sets=sets).json
    table = pq.read_table(out)
    assert table.schema.names == TABLES["pairs"].arrow.names and table.num_rows == done["rows"] > 0
    rows = kale("show", "pairs", "--key", KEY, "--rows", "3", "--json", sets=sets).json
    assert [row["uid"] for row in rows] == table["uid"].to_pylist()[:3]
    assert rows[0]["uid"][:4] in kale("show", "pairs", "--key", KEY, sets=sets).out
    assert list(out.parent.iterdir()) == [out]


def test_history_and_diff_show_what_a_new_run_changed(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = kale("run", "ingest", "--key", KEY, "--json", sets=small).json
    kale("run", "ingest", "--key", "2026-11-02", sets=small)
    second = kale("run", "ingest", "--key", KEY, "--again", "--json", sets=small).json
    commits = kale("history", "pairs", "--key", KEY, "--json", sets=small).json
    assert [row["fingerprint"] for row in commits] == [first["fingerprint"], second["fingerprint"]]
    assert {(row["step"], row["kept"], row["key"]) for row in commits} == {("ingest", first["rows"], KEY)}
    assert kale("history", "pairs", "--key", KEY, "--last", "1", "--json", sets=small).json == commits[-1:]
    old, new = (str(row["snapshot"]) for row in commits)
    rows = kale("diff", "pairs", old, new, "--json", sets=small).json
    files, kept = 1, first["rows"]  # the seal merges the parts
    assert rows[0] == {"key": KEY, "files_out": files, "rows_out": kept, "files_in": files, "rows_in": kept}
    assert (rows[1]["key"], rows[1]["rows_out"], rows[1]["rows_in"]) == ("2026-11-02", 0, kept)
    assert kale("diff", "pairs", old, old, "--json", sets=small).json == []


def test_control_characters_and_markup_are_shown_escaped(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        steps.STEPS, "ingest", replace(steps.STEPS["ingest"], reference="tests.cli.test_cli:Strange", suite=None)
    )
    kale("run", "ingest", "--key", KEY, sets=small)
    shown = kale("show", "pairs", "--key", KEY, sets=small).out
    assert "[/bold][red]" in shown and "\\x1b[2J" in shown and "\x1b" not in shown


class Strange(Numbers):
    """Texts with markup and control characters."""

    def __init__(self) -> None:
        super().__init__(10, "[/bold][red]\x1b[2J")


def test_pending_lists_the_keys_that_lack_a_stage(sets: list[str]) -> None:
    found = kale("pending", "--json", sets=sets).json
    assert (found["images"], found["recipes"]["demo"]["stage1"], found["release"]) == ([KEY], [], [])
    shown = kale("pending", sets=sets).out
    assert KEY in shown and "0 new captions, 300 make one due" in shown


def test_maintain_deletes_only_unused_files_and_none_in_a_dry_run(small: list[str], tmp_path: Path) -> None:
    for again in ((), ("--again",)):
        kale("run", "ingest", "--key", KEY, *again, sets=small)
    small = [*small, "maintenance.keep_days=0", "maintenance.grace_hours=0", "maintenance.run_days=0"]

    def present() -> dict[Path, bytes]:
        files = [path for path in (tmp_path / "warehouse").rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files if path.name != "catalog.db"}

    before, rows = present(), kale("show", "pairs", "--key", KEY, "--rows", "999", "--json", sets=small).json
    planned = kale("maintain", "--dry-run", "--json", sets=small).json
    assert planned["snapshots"] > 0 and present() == before
    done = kale("maintain", "--json", sets=small).json
    assert (done["snapshots"], len(present()) < len(before)) == (planned["snapshots"], True)
    assert kale("show", "pairs", "--key", KEY, "--rows", "999", "--json", sets=small).json == rows


def test_doctor_reports_what_is_missing_and_what_to_do(sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = kale("doctor", "--json", sets=sets)
    states = {row["check"]: row["state"] for row in healthy.json}
    assert healthy.code == 0
    assert {
        states[name]
        for name in (
            "java",
            "extra spark",
            "extra train",
            "storage create",
            "storage clock",
            "catalog",
            "landing",
            "models",
        )
    } == {"ok"}
    monkeypatch.setenv("PATH", os.devnull)
    ill = kale("doctor", "--json", sets=[*sets, "landing=/nowhere", "ingest.engine=spark"])
    found = {row["check"]: row for row in ill.json}
    assert (ill.code, found["java"]["state"], found["landing"]["state"]) == (2, "broken", "absent")
    assert "Install" in found["java"]["what to do"] and "sample make" in found["landing"]["what to do"]


def test_doctor_names_settings_without_which_a_later_step_stops(
    sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "False")
    bare = kale("doctor", "--json", sets=[*sets, "publish.target=null"])
    found = {row["check"]: row for row in bare.json}
    names = ("contact", "release target", "airflow state_store__clear_on_success")
    assert {found[name]["state"] for name in names} == {"absent"}
    assert "images.fetch.contact" in found["contact"]["what to do"]
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    full = kale("doctor", "--json", sets=[*sets, "publish.target=out", "images.fetch.contact=a@example.org"])
    assert {row["state"] for row in full.json if row["check"] in names} == {"ok"}


def test_config_prints_every_setting_with_its_origin_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALE_LIMIT", "7")
    sets = ["s3.secret_access_key=hunter2", "parts.part_rows=5"]
    answer = kale("config", "--json", sets=sets)
    rows = {row["setting"]: row for row in answer.json}
    assert set(rows) >= set(setting_names())
    assert rows["limit"] == {"setting": "limit", "value": 7, "from": "environment KALE_LIMIT"}
    assert (rows["parts.part_rows"]["value"], rows["parts.part_rows"]["from"]) == (5, "--set")
    assert "hunter2" not in answer.out + kale("config", sets=sets).out
    assert rows["s3.secret_access_key"]["value"] == "**********"


def test_config_shows_a_part_or_what_is_not_at_its_default() -> None:
    part = kale("config", "images.fetch", "--json").json
    assert part and all("images.fetch" in row["setting"] for row in part)
    changed = {row["setting"] for row in kale("config", "--changed", "--json", sets=["limit=7", "profile=laptop"]).json}
    assert {"limit", "profile", "parts.part_rows"} <= changed and "log" not in changed


def test_the_schema_covers_every_section() -> None:
    schema = json.loads(kale("config", "--schema").out)
    assert {name.split(".")[0] for name in setting_names()} == set(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["config", "--set", "part.part_row=2"], "Did you mean 'parts.part_rows'?"),
        (["run", "ingset", "--key", KEY], "Steps: ingest"),
        (["show", "pair", "--key", KEY], "Tables: pairs"),
        (["run", "ingest"], "Missing option '--key'"),
        (["xyzzy"], "No such command 'xyzzy'. See `kale --help`"),
        (["stats"], "Did you mean 'status', 'estimate'? See `kale --help`"),
    ],
)
def test_a_mistyped_name_gets_a_suggestion(
    words: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KALE_WAREHOUSE", str(tmp_path))
    answer = kale(*words)
    assert (answer.code, hint in " ".join(answer.err.split())) == (2, True), answer.err


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, small: list[str]) -> Iterator[list[str]]:
    """A step with a defect."""
    monkeypatch.setattr(Numbers, "config", lambda *_: {"rows": object()})
    yield small


def test_a_defect_is_one_line_and_with_debug_a_traceback(broken: list[str]) -> None:
    answer = kale("run", "ingest", "--key", KEY, sets=broken)
    assert (answer.code, answer.err.count("\n"), "unexpected" in answer.err) == (1, 1, True)
    with pytest.raises(TypeError):
        kale("--debug", "run", "ingest", "--key", KEY, sets=broken)


def test_a_committed_run_is_not_repeated(small: list[str]) -> None:
    first = kale("run", "ingest", "--key", KEY, sets=small)
    again = kale("run", "ingest", "--key", KEY, sets=small)
    assert again.out == first.out.rstrip() + " Nothing was done: it was committed before.\n"
    assert "250 in, 195 kept" in first.out
    assert again.err == ""
    assert kale("plan", "ingest", "--key", KEY, sets=small).out.endswith("is committed already.\n")
    assert lake_of(small)[0].committed("pairs", KEY) is not None


@pytest.mark.parametrize("words", [["status"], ["show", "pairs", "--key", KEY], ["history"], ["publish", "--key", KEY]])
def test_reading_from_a_missing_warehouse_is_refused_and_creates_nothing(words: list[str], tmp_path: Path) -> None:
    answer = kale(*words, sets=[f"warehouse={tmp_path / 'typo'}"])
    assert (answer.code, "There is no lake at" in answer.err, "kale init" in answer.err) == (2, True, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("log", ["plain", "json"])
def test_json_output_leaves_progress_to_the_log_setting(small: list[str], log: str) -> None:
    answer = kale("run", "ingest", "--key", KEY, "--json", sets=[*small, f"log={log}"])
    assert answer.json["rows"] > 0
    assert answer.err and answer.err.startswith("{") == (log == "json")


def test_show_writes_the_format_of_the_file_name(sets: list[str], tmp_path: Path) -> None:
    expected = kale("show", "pairs", "--key", KEY, "--rows", "999", "--json", sets=sets).json
    for name in ("pairs.csv", "pairs.jsonl"):
        assert kale("show", "pairs", "--key", KEY, "--out", str(tmp_path / name), sets=sets).code == 0
    assert [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()] == expected
    with (tmp_path / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["uid"], r["alt_text"], json.loads(r["flags"])) for r in rows] == [
        (r["uid"], r["alt_text"], r["flags"]) for r in expected
    ]
    refused = kale("show", "pairs", "--key", KEY, "--out", str(tmp_path / "pairs.xlsx"), sets=sets)
    assert (refused.code, "must end with .parquet, .csv, .jsonl" in refused.err) == (2, True)
    assert not (tmp_path / "pairs.xlsx").exists()
