"""What earlier keys have kept, as a later key sees it: the files of their `dedup_index`, never their rows."""

import hashlib

from pyiceberg.expressions import LessThan

from kale_tasks.lake.tables import Lake

TABLE = "dedup_index"


def earlier_content(lake: Lake, key: str) -> str:
    """A hash over what every earlier key has kept; a key that is made anew changes it for all that come after."""
    standing = lake.partitions(TABLE)
    known = "".join(f"{name}={standing[name].content}\n" for name in sorted(standing) if name < key)
    return hashlib.sha256(known.encode()).hexdigest()[:20]


def earlier_files(lake: Lake, key: str) -> list[str]:
    """The index files of all earlier keys, by their paths in the warehouse."""
    table = lake.table(TABLE)
    if table.current_snapshot() is None:
        return []
    tasks = table.scan(row_filter=LessThan(term="key", value=key)).plan_files()
    return sorted(lake.storage.relative(task.file.file_path) for task in tasks)
