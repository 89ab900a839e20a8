"""The machine that is measured: what it is, and how much of the time its devices have nothing to do."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from kale_tasks.engines.devices import visible_devices
from kale_tasks.process import start_process, stop_process
from kale_tasks.settings.caption import Caption

_QUERY = ("nvidia-smi", "--format=csv,noheader,nounits")


def gpus_of(settings: Caption) -> list[str]:
    """Return the numbers of the GPUs that the engine of the settings uses; none if it uses cores, or servers."""
    if settings.engine == "vllm":
        named = [name.strip() for name in settings.devices.split(",") if name.strip()]
        return visible_devices() if settings.devices == "all" else [name for name in named if name.isdigit()]
    if settings.engine == "transformers" and settings.device.startswith(("auto", "cuda")):
        visible, number = visible_devices(), int(settings.device.partition(":")[2] or 0)
        return visible[number : number + 1]
    return []


def describe_devices(gpus: Sequence[str]) -> str:
    """Name the GPUs, or the processor if there are none."""
    if not gpus:
        return f"{os.cpu_count()} x {_processor()}"
    return f"{len(gpus)} x {_ask_gpus(gpus, 'name')[0]}"


def describe_machine(gpus: Sequence[str]) -> str:
    """Describe the machine in a sentence."""
    parts = [f"{os.cpu_count()} cores ({_processor()})", f"{psutil.virtual_memory().total / 2**30:.0f} GB"]
    parts += [f"{describe_devices(gpus)} (driver {_ask_gpus(gpus, 'driver_version')[0]})"] if gpus else ["no GPU"]
    return f"Machine: {', '.join([*parts, f'load {os.getloadavg()[0]:.1f}'])}."


@contextmanager
def idle_share(gpus: Sequence[str]) -> Iterator[Callable[[], float]]:
    """Watch devices; the function returns the share of the time since then in which they had nothing to do.

    Without GPUs, the devices are the cores of the machine.
    """
    if not gpus:
        psutil.cpu_percent()
        yield lambda: 1 - psutil.cpu_percent() / 100
        return
    command = [*_QUERY, f"--id={','.join(gpus)}", "--query-gpu=utilization.gpu", "--loop-ms=200"]
    watch = start_process(command, stdout=subprocess.PIPE)

    def idle() -> float:
        stop_process(watch, grace_seconds=1)
        seen = [float(line) for line in watch.communicate()[0].split()]
        return 1 - sum(seen) / len(seen) / 100 if seen else 0.0

    try:
        yield idle
    finally:
        stop_process(watch, grace_seconds=1)


def _ask_gpus(gpus: Sequence[str], field: str) -> list[str]:
    command = [*_QUERY, f"--id={','.join(gpus)}", f"--query-gpu={field}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2] for line in lines if "model name" in line]
    return " ".join(models[0].split()) if models else "unknown processor"
