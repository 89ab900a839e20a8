"""What happens to a folder from outside: files are damaged, and parts of it come back from an older backup."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

_TABLES = ("pairs", "images", "dedup_index", "quarantine", "texts", "captions")
CATALOG = "catalog.db"


def damage(warehouse: Path, how: str, pick: int) -> bool:
    """Delete a part or shard, or change a byte of it; whether there was one."""
    files = sorted(
        path
        for table in _TABLES
        for path in warehouse.glob(f"{table}/key=*/*/*")
        if path.suffix in (".parquet", ".tar")
    )
    if not files:
        return False
    file = files[pick % len(files)]
    if how == "delete":
        file.unlink()
        return True
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    temporary = file.with_name(f".tmp-{file.name}")
    temporary.write_bytes(data)
    os.replace(temporary, file)
    return True


def back_up(warehouse: Path, backup: Path) -> None:
    """Copy a quiet lake."""
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(warehouse, backup, copy_function=copy_if_there)


def restore_catalog(warehouse: Path, backup: Path) -> None:
    """Put the catalog of a backup back; the store stays as it is."""
    temporary = warehouse / f".tmp-{CATALOG}"
    shutil.copyfile(backup / CATALOG, temporary)
    os.replace(temporary, warehouse / CATALOG)


def restore_store(warehouse: Path, backup: Path) -> None:
    """Put the store of a backup back, without what was written since; the catalog stays as it is."""
    catalog = warehouse.with_name("catalog.kept")
    shutil.copyfile(warehouse / CATALOG, catalog)
    old = warehouse.with_name("warehouse.old")
    os.replace(warehouse, old)
    shutil.copytree(backup, warehouse)
    os.replace(catalog, warehouse / CATALOG)
    shutil.rmtree(old)


def runs_of(listing: str) -> list[str]:
    """Return the runs that `kale rollback STEP --key KEY --json` lists and that can be committed again."""
    lines = [line for line in listing.splitlines() if line.startswith("[")]
    found = json.loads(lines[-1]) if lines else []
    return [run["run"] for run in found if run["cleared"] and not run["committed"]]


def copy_if_there(source: str, target: str) -> None:
    """Copy a file unless it was a temporary one that was renamed meanwhile."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)
