"""A backfill whose commands are killed at random ends in the release of one that nobody disturbed."""

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from kale_tasks.lake.tables import Lake
from kale_tasks.runner.verify import verify
from kale_tasks.world.write import write_landing
from tests.e2e.chain.small import LENIENT
from tests.engines.server import Server, completion, serving
from tests.lakes import lake_of

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]
# How many keys, how long a command may live on average when it is to be killed, and how many are killed at most.
KEYS = int(os.environ.get("BACKFILL_KEYS", "3"))
SECONDS = float(os.environ.get("BACKFILL_KILL_SECONDS", "3"))
KILLS = int(os.environ.get("BACKFILL_KILLS", "24"))
SEED, ROWS, PART_ROWS, IN_FLIGHT = 28, 60, 10, 8
STEPS = ("ingest", "images", "captions", "release")


def reply(body: dict[str, Any]) -> web.Response:
    """Answer with a sentence that depends on all that was asked."""
    mark = hashlib.sha256(repr(body["messages"]).encode()).hexdigest()
    words = [("red", "green", "white", "old")[int(digit, 16) % 4] for digit in mark[:6]]
    return completion(f"A {words[0]} house is near {words[1]} trees. A {words[2]} boat passes a {words[3]} tower.")


def settings_of(folder: Path, landing: Path, server: Server) -> list[str]:
    """The settings of a lake whose captions come from a server."""
    limits = {name.removeprefix("KALE_").lower().replace("__", "."): value for name, value in LENIENT.items()}
    return [
        f"landing={landing}", f"warehouse={folder}", "profile=demo", f"parts.part_rows={PART_ROWS}",
        "ingest.split.stage1=1", "ingest.split.holdout=0", "ingest.lists.evaluation=null", "caption.engine=openai",
        f"caption.in_flight={IN_FLIGHT}", f"caption.endpoints.models={{vlm: ['{server.url}'], llm: ['{server.url}']}}",
        *(f"{name}={value}" for name, value in limits.items()),
    ]  # fmt: skip


def attempt(sets: list[str], words: list[str], lives: float | None) -> int:
    """Run a command, which is killed with all its processes if it lives for longer than it may."""
    command = [sys.executable, "-m", "kale_tasks", *words, *(word for value in sets for word in ("--set", value))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        process.communicate(timeout=lives)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return process.returncode


def backfill(sets: list[str], keys: list[str], rng: Random | None = None, kills: int = 0) -> int:
    """Take all keys through the chain, each command as often as it takes. Returns how many were killed."""
    assert attempt(sets, ["init"], None) == 0
    killed = 0
    for step in STEPS:
        for key in keys:
            code = -signal.SIGKILL
            while code == -signal.SIGKILL:
                mortal = rng is not None and killed < kills
                code = attempt(sets, ["run", step, "--key", key], rng.uniform(0.2, 2 * SECONDS) if mortal else None)
                killed += code == -signal.SIGKILL
            assert code == 0, (step, key)
    return killed


def content(lake: Lake) -> dict[str, Any]:
    """What the lake holds: the content of each partition, and the bytes of each released file."""
    tables = ("pairs", "images", "texts", "captions")
    found: dict[str, Any] = {
        f"{table} {partition.name}": committed.content
        for table in tables
        for partition, committed in lake.partitions(table).items()
    }
    for entry in lake.storage.entries("release_files"):
        if entry.path.endswith((".parquet", ".tar")):
            data = lake.storage.read(entry.path)
            found[f"{Path(entry.path).name} {len(data)}"] = hashlib.sha256(data).hexdigest()
    return found


def test_a_backfill_with_random_kills_ends_in_the_release_of_an_undisturbed_one(tmp_path: Path) -> None:
    keys = write_landing(tmp_path / "landing", KEYS, ROWS)
    with serving(0.01, reply) as server:
        server.keep_bodies = False
        calm = settings_of(tmp_path / "calm", tmp_path / "landing", server)
        assert backfill(calm, keys) == 0
        asked = server.asked.total()
        server.asked.clear()
        sets = settings_of(tmp_path / "killed", tmp_path / "landing", server)
        killed = backfill(sets, keys, Random(SEED), KILLS)
        again = server.asked.total() - asked
    print(f"{killed} commands of {KEYS} keys killed; {again} of {asked} requests made twice")
    lake, undisturbed = lake_of(sets)[0], lake_of(calm)[0]
    assert killed >= min(KILLS, 2 * KEYS)
    assert 0 <= again <= killed * (PART_ROWS + IN_FLIGHT), "a kill cost more than the part in hand"
    assert content(lake) == content(undisturbed)
    assert verify(lake).damaged == []
