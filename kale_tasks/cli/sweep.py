"""What `kale maintain` deletes outside the lake: scratch of this machine, and logs and old runs of Airflow."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kale_tasks.errors import BadConfig
from kale_tasks.process import SCRATCH


def old_scratch(age: timedelta) -> list[Path]:
    """List what tasks that were killed left in the temporary folder, and copies of students that are no longer read."""
    from kale_tasks.models.students import cache

    before = (datetime.now(UTC) - age).timestamp()
    found = [*Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"), *cache().glob("*")]
    return [path for path in found if _is_mine(path) and _newest(path) < before]


def old_logs(age: timedelta) -> list[Path]:
    """List the files of Airflow's log folder that nobody has written to for so long."""
    folder = Path(_airflow("config", "get-value", "logging", "base_log_folder").splitlines()[-1].strip())
    before = (datetime.now(UTC) - age).timestamp()
    return [path for path in folder.rglob("*") if path.is_file() and path.lstat().st_mtime < before]


def forget_runs(age: timedelta) -> None:
    """Delete Dag runs, events and other records that are older than that from Airflow's database."""
    before = (datetime.now(UTC) - age).isoformat()
    _airflow("db", "clean", "--clean-before-timestamp", before, "--skip-archive", "--yes")


def remove(paths: Iterable[Path]) -> None:
    """Delete files and folders; what another process is deleting is left to it."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _airflow(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "airflow", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BadConfig(
            f"`airflow {' '.join(words[:2])}` failed: {''.join(reason)} Use --airflow only where Airflow is installed "
            "and its database can be reached, as on the machine of the scheduler."
        )
    return done.stdout


def _is_mine(path: Path) -> bool:
    return path.lstat().st_uid == os.geteuid()


def _newest(path: Path) -> float:
    newest = path.lstat().st_mtime
    for below in path.rglob("*"):
        with suppress(FileNotFoundError):
            newest = max(newest, below.lstat().st_mtime)
    return newest
