"""`kale doctor` on a machine with GPUs: the driver, and the interpreter that has vLLM."""

import sys
from pathlib import Path

import pytest

from kale_tasks.cli import doctor


@pytest.mark.parametrize(("version", "ok"), [("580.65.06", True), ("570.124.06", False), ("", False)])
def test_the_driver_must_run_what_vllm_is_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, ok: bool
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n[ -z '{version}' ] || echo '{version}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = doctor._driver()
    assert (check.ok, check.found) == (ok, version or "none answers")


def test_a_machine_without_a_driver_is_not_asked_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not list(doctor._driver())


@pytest.mark.parametrize("python", [sys.executable, "/no/python"])
def test_an_interpreter_without_vllm_is_named(python: str) -> None:
    check = doctor._vllm(python)
    assert not check.ok and python in check.advice and "caption.vllm_python" in check.advice
