"""The core installs and works without Airflow, Spark, torch and the Hub's client."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KEY = "2026-11-01"
EXTRAS = ("airflow", "pyspark", "torch", "transformers", "huggingface_hub", "vllm")
_INSTALL = """
source scripts/common.sh
locate_torch cpu
uv venv -q --python 3.11 "$1"
VIRTUAL_ENV=$1 uv pip install -q --constraint lock/requirements.txt .
"""
Core = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Core:
    """Run a program of an environment that holds the core alone, in an empty folder."""
    folder = tmp_path_factory.mktemp("core")
    subprocess.run(["bash", "-c", _INSTALL, "install", str(folder / "venv")], cwd=ROOT, check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"KALE_PROFILE": "laptop", "KALE_LANDING": "landing", "KALE_WAREHOUSE": "lake"}

    def run(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(folder / "venv/bin" / program), *words]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    (folder / "landing" / KEY).mkdir(parents=True)
    rows = [{"url": f"https://example.org/{n}.jpg", "text": f"The old bridge over river number {n}"} for n in range(9)]
    (folder / "landing" / KEY / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run("kale", "init").returncode == 0
    return run


def test_no_extra_is_installed(core: Core) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {EXTRAS} if find_spec(name)])"
    assert core("python", "-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("words", [["--help"], ["config"], ["doctor"], ["status"]])
def test_a_command_works(core: Core, words: list[str]) -> None:
    done = core("kale", *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_ingest_runs_on_duckdb(core: Core) -> None:
    done = core("kale", "run", "ingest", "--key", KEY, "--json")
    assert done.returncode == 0, done.stderr
    assert core("kale", "show", "pairs", "--key", KEY, "--out", "pairs.parquet").returncode == 0


def test_a_command_that_needs_an_extra_names_it(core: Core) -> None:
    done = core("kale", "run", "ingest", "--key", KEY, "--again", "--set", "ingest.engine=spark")
    assert done.returncode == 2
    assert "kale-tasks[spark]" in done.stderr
