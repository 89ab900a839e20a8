"""Help, version and completion of the command line."""

import os
import subprocess
import sys

import pytest

from kale_tasks import __version__
from kale_tasks.contract import registry as steps
from tests.kale import kale


def commands() -> list[str]:
    lines = kale("--help").out.splitlines()
    return [line.split()[1] for line in lines if line.startswith("│ ") and line[2].islower()]


def test_help_groups_the_commands() -> None:
    shown = kale("--help").out
    panels = [line.split()[1] for line in shown.splitlines() if line.startswith("╭─")]
    assert panels == ["Options", "Start", "Run", "Inspect", "Quality", "Publish", "Operate"]
    assert len(commands()) >= 20


@pytest.mark.parametrize("name", commands())
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = kale(name, "--help")
    assert (shown.code, f"Example: kale {name}" in shown.out) == (0, True), shown.out


def test_help_lists_the_steps_of_the_registry() -> None:
    shown = " ".join(kale("run", "--help").out.replace("│", " ").split())
    assert ", ".join(steps.STEPS) in shown


def test_the_version_is_printed() -> None:
    assert kale("--version").out == f"kale {__version__}\n"


def test_the_shell_completes_steps() -> None:
    command = [sys.executable, "-c", "from kale_tasks.cli.app import app; app(prog_name='kale')"]
    env = {**os.environ, "_KALE_COMPLETE": "complete_bash", "COMP_WORDS": "kale run i", "COMP_CWORD": "2"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {"ingest", "images"}, done.stderr


def test_help_imports_no_heavy_library() -> None:
    heavy = ("pyarrow", "pyiceberg", "torch", "airflow")
    code = f"import sys, kale_tasks.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
