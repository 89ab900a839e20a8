"""Each promise of security, and some of what faults do, has a guard; when it is removed, the test of it fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MUTATIONS = yaml.safe_load(Path(__file__).with_name("mutations.yaml").read_text("utf-8"))
PROMISES = {one["promise"] for one in yaml.safe_load(Path(__file__).with_name("promises.yaml").read_text("utf-8"))}
FAULTS = [one["fault"] for one in yaml.safe_load((ROOT / "tests/faults/faults.yaml").read_text("utf-8"))]
# Promises whose guard is a file of the project, or a whole command, and no line that could be removed alone.
WITHOUT = {"Dependencies are locked by hash", "What a takedown names appears nowhere"}
_FAILED, _UNUSED = 1, shutil.ignore_patterns("__pycache__")


def _name(mutation: dict[str, str]) -> str:
    return f"{mutation['file']}: {mutation['old'].strip()[:40]}"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=_name)
def test_a_guard_is_still_where_it_was(mutation: dict[str, str]) -> None:
    assert (ROOT / "kale_tasks" / mutation["file"]).read_text("utf-8").count(mutation["old"]) == 1
    assert mutation.get("promise") in PROMISES or any(fault.startswith(mutation["fault"]) for fault in FAULTS)


def test_every_promise_has_a_guard_that_can_be_removed() -> None:
    assert PROMISES - {mutation.get("promise") for mutation in MUTATIONS} == WITHOUT


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=_name)
def test_a_removed_guard_is_missed(mutation: dict[str, str], tmp_path: Path) -> None:
    for folder in ("kale_tasks", "tests", "config", "sql", "dags", "plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=_UNUSED)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("bench", "scripts", "examples", "docs", ".cache"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    guarded = tmp_path / "kale_tasks" / mutation["file"]
    guarded.write_text(guarded.read_text("utf-8").replace(mutation["old"], mutation["new"]), "utf-8")
    options = ["-x", "-n", "0", "-p", "no:cacheprovider", "--timeout=120"]  # without its guard a test may hang
    command = [sys.executable, "-m", "pytest", *options, *_tests(mutation["test"])]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == _FAILED, done.stdout[-2000:]


def _tests(named: str) -> list[str]:
    """Divide names of tests; a name may have spaces in its brackets."""
    return [f"tests/{one}".strip() for one in named.removeprefix("tests/").split(" tests/")]
