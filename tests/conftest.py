"""What every test finds: real servers to ask for by name, and an environment that reaches nothing outside."""

import atexit
import gc
import os
import shutil
import tempfile

import psutil
from hypothesis import settings

pytest_plugins = [
    "tests.budgets",
    "tests.groups",
    "tests.services.chromium",
    "tests.services.postgres",
    "tests.services.redis",
    "tests.services.s3",
    "tests.services.spark",
]

_SHARED_MEMORY, _LEAST_BYTES = "/dev/shm", 8e9
_USUAL = gc.get_threshold()
gc.set_threshold(100_000, 50, 50)  # what is imported for all tests stays: not worth a look until all are collected


def _folder_in_memory() -> str | None:
    """Where temporary files cost no wait for a disk: processes die in tests, machines do not. None if it is small."""
    if not os.path.isdir(_SHARED_MEMORY) or os.statvfs(_SHARED_MEMORY).f_flag & os.ST_NOEXEC:
        return None
    free = min(shutil.disk_usage(_SHARED_MEMORY).free, psutil.virtual_memory().available / 2)
    return _SHARED_MEMORY if free > _LEAST_BYTES else None


if "TMPDIR" not in os.environ and (folder := _folder_in_memory()):
    os.environ["TMPDIR"] = tempfile.tempdir = folder

# Set here, before anything is imported: Airflow reads its folder at its first import.
_airflow_home = tempfile.mkdtemp(prefix="kale-airflow-")
atexit.register(shutil.rmtree, _airflow_home, ignore_errors=True)
os.environ |= {
    "AIRFLOW_HOME": _airflow_home,
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # several workers share the cores, and threads of torch wait for each other by spinning
    "SPARK_CONF_DIR": os.path.join(os.path.dirname(__file__), "services"),
    "SPARK_LOCAL_IP": "127.0.0.1",
    # What torch compiles is large, and is found again by the next run.
    "TORCHINDUCTOR_CACHE_DIR": os.path.join(os.path.dirname(__file__), "..", ".cache", "torchinductor"),
    "VLLM_NO_USAGE_STATS": "1",
}


def pytest_collection_finish() -> None:
    """Look for garbage as usual, but never among what has been imported."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # else DuckDB reports what the last look would free
    gc.set_threshold(*_USUAL)


settings.register_profile("kale", deadline=None)  # a busy machine is no failure
settings.load_profile("kale")
