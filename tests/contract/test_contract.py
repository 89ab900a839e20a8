"""Properties of the step contract: fingerprints, chunks, keys, accounting."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_tasks.contract.fingerprint import fingerprint
from kale_tasks.contract.registry import STEPS, find
from kale_tasks.contract.step import part_span, row_chunks
from kale_tasks.contract.types import Part, Quarantined
from kale_tasks.errors import BadConfig, BadData
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.parts import PartMeta, digest, write
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.writer import Writer
from tests.lakes import settings_of
from tests.steps import Numbers

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3), max_leaves=5
)
CONFIGS = st.dictionaries(st.text(min_size=1), VALUES, max_size=5)
INPUTS = st.dictionaries(st.text(min_size=1), st.text(), max_size=3)


@given(CONFIGS, INPUTS)
def test_a_fingerprint_does_not_depend_on_the_order_of_settings(config: dict, inputs: dict) -> None:
    turned = dict(reversed(config.items())), dict(reversed(inputs.items()))
    assert fingerprint(Numbers(), config, inputs) == fingerprint(Numbers(), *turned)


@given(CONFIGS, CONFIGS, INPUTS, INPUTS)
def test_a_fingerprint_changes_with_each_input_that_matters(one: dict, other: dict, a: dict, b: dict) -> None:
    same = json.dumps([one, a], sort_keys=True) == json.dumps([other, b], sort_keys=True)
    assert (fingerprint(Numbers(), one, a) == fingerprint(Numbers(), other, b)) == same
    assert fingerprint(Numbers(), one, a) != fingerprint(Numbers(), one, a, because=["again"])
    newer = Numbers()
    newer.version = 2  # type: ignore[misc]
    assert fingerprint(newer, one, a) != fingerprint(Numbers(), one, a)


def elsewhere(code: str, given: object, folder: Path) -> object:
    """What code prints as JSON about what it is given, in another process with other hashes and another folder."""
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "7", "PATH": "/usr/bin"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given),
        cwd=folder,
        env=env,
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(said.stdout)


def turned(value: object) -> object:
    """The same with every dictionary, however deep, the other way round."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(v) for v in value] if isinstance(value, list) else value


@settings(max_examples=3)
@given(st.lists(st.tuples(CONFIGS, INPUTS), min_size=20, max_size=20))
def test_a_fingerprint_is_the_same_in_another_process(pairs: list[tuple[dict, dict]]) -> None:
    code = (
        "import json, sys; from kale_tasks.contract.fingerprint import fingerprint; from tests.steps import Numbers;"
        "print(json.dumps([fingerprint(Numbers(), *pair) for pair in json.load(sys.stdin)]))"
    )
    there = elsewhere(code, [turned(list(pair)) for pair in pairs], Path("/"))
    assert there == [fingerprint(Numbers(), *pair) for pair in pairs]


def test_no_step_puts_places_or_machines_into_its_fingerprint(tmp_path: Path) -> None:
    code = (
        "import json, sys; from kale_tasks.contract.fingerprint import fingerprint;"
        "from kale_tasks.contract.registry import STEPS, find;"
        "from tests.lakes import settings_of; s = settings_of(json.load(sys.stdin));"
        "print(json.dumps({n: fingerprint(find(n, 'demo'), find(n, 'demo').config(s), {'a': 'b'}) for n in STEPS}))"
    )
    bare = ["ingest.lists.evaluation=null"]
    other = [*bare, "warehouse=/elsewhere", "landing=/there", "log=json", "parts.chunk_rows=7", "s3.region=eu-north-1"]
    here = {name: find(name, "demo") for name in STEPS}
    mine = {name: fingerprint(step, step.config(settings_of(bare)), {"a": "b"}) for name, step in here.items()}
    assert elsewhere(code, other, tmp_path) == mine


@given(st.integers(0, 10**7), st.integers(1, 10**5), st.integers(1, 5000))
def test_chunks_cover_every_row_once_in_whole_parts(rows: int, chunk_rows: int, part_rows: int) -> None:
    if rows / part_rows > 20_000:
        part_rows = max(part_rows, rows // 20_000)
    cut = settings_of([f"parts.chunk_rows={chunk_rows}", f"parts.part_rows={part_rows}"])
    chunks = row_chunks(cut, rows)
    spans = [part_span(cut, chunk, n) for chunk in chunks for n in chunk.numbers]
    assert [n for chunk in chunks for n in chunk.numbers] == list(range(len(spans)))
    assert [a for a, _ in spans] == [0, *(b for _, b in spans)][: len(spans)]
    assert (spans[-1][1] if spans else 0) == rows
    assert all(0 < b - a <= part_rows for a, b in spans)


@given(st.text())
def test_a_key_is_safe_as_a_folder_name_or_refused(text: str) -> None:
    try:
        key = check_key(text)
    except BadConfig:
        return
    assert key not in (".", "..") and "/" not in key and ".." not in key and key.isascii() and "\n" not in key


@pytest.mark.parametrize("key", ["2026-11-01", "2026-11-01T05", "all", "v1.2_a"])
def test_usual_keys_are_taken(key: str) -> None:
    assert check_key(key) == key


@given(st.integers(0, 6), st.integers(0, 3), st.integers(0, 3), st.integers(-2, 2))
def test_a_part_is_written_exactly_when_its_rows_add_up(kept: int, dropped: int, taken: int, error: int) -> None:
    import tempfile

    rows = (
        pa.Table.from_pylist([{"uid": f"{i:032x}", "key": "k", "split": "stage1"} for i in range(kept)])
        if kept
        else pa.table({})
    )
    part = Part(
        0, rows, kept + dropped + taken + error, {"rule": dropped}, [Quarantined(f"{i}", "why") for i in range(taken)]
    )
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(FolderStorage(folder), "ingest", "pairs", "k", "f")
        if error:
            with pytest.raises(BadData, match="lost rows"):
                writer.write(part)
        else:
            assert writer.write(part).balanced


@given(st.lists(st.text(), max_size=20), st.integers(0, 5))
def test_the_digest_of_rows_does_not_depend_on_how_they_are_held(texts: list[str], cut: int) -> None:
    whole = pa.table({"text": pa.array(texts, pa.string())})
    pieces = pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])
    padded = pa.table({"text": pa.array(["x", *texts], pa.string())}).slice(1)
    assert digest(whole) == digest(pieces) == digest(padded)


def test_a_part_has_the_same_bytes_however_its_rows_are_held(tmp_path: Path) -> None:
    rng, count = Random(1), 40_000  # enough for several pages
    whole = pa.table({"text": [f"{rng.random()} {rng.random()} {rng.random()}" for _ in range(count)]})
    pieces = pa.concat_tables([whole.slice(start, 7) for start in range(0, count, 7)])
    padded = pa.concat_tables([whole.slice(0, 3), whole]).combine_chunks().slice(3)
    storage, meta = FolderStorage(tmp_path), PartMeta("run", 0, count, count)
    files = [write(storage, "pairs/run", meta, rows) for rows in (whole, pieces, padded)]
    assert files[0] == files[1] == files[2]
