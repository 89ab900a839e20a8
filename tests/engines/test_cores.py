"""A vLLM process stays on the cores of its group, with all of its threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kale_tasks.engines import vllm_worker

CORES = sorted(os.sched_getaffinity(0))
SHOW = "import os, vllm_worker; vllm_worker.stay_on({!r}); print(sorted(os.sched_getaffinity(0)))"


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        (str(CORES[0]), CORES[:1]),
        (f"{CORES[0]}-{CORES[-1]}", list(range(CORES[0], CORES[-1] + 1))),
        (f"{CORES[0]},{CORES[-1]}", sorted({CORES[0], CORES[-1]})),
        (f"{CORES[0]}|{CORES[-1]}", sorted({CORES[0], CORES[-1]})),
        ("auto", CORES),
        ("nobind", CORES),
        ("", CORES),
    ],
)
def test_a_process_keeps_to_the_cores_of_its_group(named: str, kept: list[int]) -> None:
    folder = Path(vllm_worker.__file__).parent
    command = [sys.executable, "-P", "-c", SHOW.format(named)]
    said = subprocess.run(command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(kept)
