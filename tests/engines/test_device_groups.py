"""One vLLM process on each group of devices: they share the requests, and each is restarted alone."""

import time
from collections import Counter
from pathlib import Path

import pytest

from kale_tasks.engines.devices import device_environment, device_groups
from kale_tasks.errors import BadConfig, Transient
from tests.engines.scripts import Opener, ask, logged, rate

TWO = "caption.devices=0,1"


def starts(folder: Path) -> Counter[str]:
    return Counter(logged(folder, "devices"))


def seconds(scripted: Opener, devices: str) -> float:
    with scripted(f"caption.devices={devices}", "caption.in_flight=128", width=64, seconds=0.1) as running:
        running.start()
        started = time.monotonic()
        ask(running, 64 * 24, together=running.room, start=False)
        return time.monotonic() - started


def test_two_groups_are_twice_as_fast_as_one(scripted: Opener, tmp_path: Path) -> None:
    assert seconds(scripted, "0") >= 1.9 * seconds(scripted, "0,1")
    assert starts(tmp_path) == {"0": 2, "1": 1}


@pytest.mark.parametrize(("count", "least"), [(4_000, 0.8), pytest.param(20_000, 0.95, marks=pytest.mark.nightly)])
def test_the_death_of_one_group_costs_the_other_nothing(
    scripted: Opener, tmp_path: Path, count: int, least: float
) -> None:
    script = {"dying": ["0"], "die_after": count // 4, "width": 64, "seconds": 0.1}
    times: list[float] = []
    with scripted(TWO, "caption.in_flight=128", **script) as running:
        answers = ask(running, count, together=running.room, times=times)
    assert not any(answer.reason for answer in answers.values())
    assert starts(tmp_path) == {"0": 2, "1": 1}
    assert sum(logged(tmp_path, "batch")) - count <= 128  # asked twice: what was in the one that died
    dies = count // 2  # the other has answered as many
    assert rate(times, dies + 1024, count - 256) >= least * rate(times, 256, dies - 256)


def test_a_group_that_cannot_start_leaves_its_requests_to_the_others(scripted: Opener, tmp_path: Path) -> None:
    with scripted(TWO, broken=["1"]) as running:
        assert not any(answer.reason for answer in ask(running, 300).values())
    assert set(logged(tmp_path, "on")) == {"0"}


def test_no_group_that_starts_is_transient(scripted: Opener) -> None:
    with scripted(TWO, broken=["0", "1"]) as running, pytest.raises(Transient, match="while it loaded"):
        running.start()


def test_devices_are_divided_into_groups_as_large_as_an_engine() -> None:
    assert device_groups("0,1,2,3", {"tensor_parallel_size": 2}) == ["0,1", "2,3"]
    assert device_groups("cpu:0,cpu:1", {}) == ["cpu:0", "cpu:1"]
    assert device_environment("0,1") == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert device_environment("cpu:1") == {"VLLM_CPU_OMP_THREADS_BIND": "1"}
    with pytest.raises(BadConfig, match="groups of 2"):
        device_groups("0,1,2", {"pipeline_parallel_size": 2})
    with pytest.raises(BadConfig, match=r"every group of caption\.devices runs an engine"):
        device_groups("0,1", {"data_parallel_size": 2})


def test_all_devices_are_those_that_the_machine_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device_groups("all", {}) == [""]
    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\necho 'GPU 0: H100 (UUID: GPU-1)'\necho 'GPU 1: H100 (UUID: GPU-2)'\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert device_groups("all", {}) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert device_groups("all", {}) == ["5", "7"]
