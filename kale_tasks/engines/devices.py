"""The devices of a machine, in groups that run one engine each."""

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from kale_tasks.errors import BadConfig

_CORES = "cpu:"
_PARALLEL = ("tensor_parallel_size", "pipeline_parallel_size")


def device_groups(devices: str, arguments: Mapping[str, Any]) -> list[str]:
    """Divide the devices of `caption.devices` into groups as large as one engine with these arguments needs.

    Returns one empty name, for whatever vLLM finds, on a machine without NVIDIA GPUs. BadConfig if a group would be
    incomplete.
    """
    size = group_size(arguments)
    names = visible_devices() if devices == "all" else [name.strip() for name in devices.split(",") if name.strip()]
    if not names:
        return [""]
    if len(names) % size:
        raise BadConfig(
            f"caption.devices={devices}: {len(names)} devices cannot be divided into groups of {size}, as "
            f"{' x '.join(_PARALLEL)} demands. Name a multiple of {size}."
        )
    return [",".join(names[at : at + size]) for at in range(0, len(names), size)]


def group_size(arguments: Mapping[str, Any]) -> int:
    """Return the number of devices that one engine with these arguments uses; BadConfig if it would be several."""
    if int(arguments.get("data_parallel_size", 1)) > 1:
        raise BadConfig(
            "vLLM's data_parallel_size has no effect here: every group of caption.devices runs an engine of its own. "
            "Leave it out, or start `vllm serve` with it and use caption.engine=openai."
        )
    size = 1
    for name in _PARALLEL:
        size *= int(arguments.get(name, 1))
    return size


def device_environment(group: str) -> dict[str, str]:
    """Return the variables that restrict vLLM to the devices of a group. `cpu:0-3` is a group of cores."""
    if not group:
        return {}
    if group.startswith(_CORES):
        return {"VLLM_CPU_OMP_THREADS_BIND": group.removeprefix(_CORES)}
    return {"CUDA_VISIBLE_DEVICES": group}


def visible_devices() -> list[str]:
    """List the NVIDIA GPUs that this process may use, without initialising CUDA in it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, _ in enumerate(line for line in found.splitlines() if line.startswith("GPU "))]
