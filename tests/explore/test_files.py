"""Files that commands leave beside the lake: whole at any time, whoever else writes them and whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.explore.export import complete_file
from tests.kale import kale


def test_a_file_is_as_it_was_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(RuntimeError), complete_file(target) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_of_two_writers_each_writes_a_whole_file(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    with complete_file(target) as slow, slow.open("w") as page:
        page.write("a" * 10_000)
        page.flush()
        with complete_file(target) as quick:
            quick.write_text("b")
        assert target.read_text() == "b"
        page.write("a" * 10_000)
    assert target.read_text() == "a" * 20_000


@pytest.mark.nightly
def test_two_quick_starts_at_once_make_the_same_captions(photos: Path, tiny: str) -> None:
    folder = photos.parent / "quick"
    both = [_begin(photos, folder, tiny) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    ended = [process.returncode for process in both]
    # The one that comes second may be asked to run again, as with any step.
    assert 0 in ended, said
    _require_whole(photos, folder, tiny)


@pytest.mark.nightly
@pytest.mark.parametrize("seconds", [3.0])
def test_a_killed_quick_start_is_finished_by_the_next(photos: Path, tiny: str, seconds: float) -> None:
    folder = photos.parent / "quick"
    process = _begin(photos, folder, tiny)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _require_whole(photos, folder, tiny)


def _begin(photos: Path, folder: Path, server: str) -> "subprocess.Popen[str]":
    words = ["quickstart", str(photos), "--folder", str(folder), "--server", server, "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "kale_tasks", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def _require_whole(photos: Path, folder: Path, server: str) -> None:
    answer = kale("quickstart", str(photos), "--folder", str(folder), "--server", server, "--json")
    assert answer.code == 0, answer.err
    made: Any = answer.json
    rows = [json.loads(line) for line in Path(made["captions"]).read_text("utf-8").splitlines()]
    assert len({row["uid"] for row in rows}) == len(rows) == 6 and all(row["caption"] for row in rows)
    assert Path(made["page"]).read_text("utf-8").rstrip().endswith("</html>")
    assert yaml.safe_load(Path(made["recipe"]).read_text("utf-8"))["passes"]
