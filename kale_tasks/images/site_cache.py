"""The robots.txt and tdmrep.json files that this machine has fetched, shared by all of its tasks."""

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

KEPT_SECONDS = 3600.0  # RFC 9309 permits a day; an owner who changes a file is heard within an hour
_LARGEST = 1 << 16  # characters; a longer text is fetched by each task, so that no owner of many hosts fills the disk
_BUSY_SECONDS = 0.5  # how long another task may hold the database before a text is fetched again or not kept


class SiteCache:
    """Texts by URL in a small database of the spool. It may be lost at any time: the files are then fetched again."""

    def __init__(self, spool: str | Path) -> None:
        self._database: sqlite3.Connection | None = None
        with suppress(sqlite3.Error, OSError):
            Path(spool).mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(
                Path(spool, "sites.sqlite"), _BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            database.execute("PRAGMA synchronous = OFF")
            database.execute("CREATE TABLE IF NOT EXISTS sites (url TEXT PRIMARY KEY, fetched REAL, text TEXT)")
            database.execute("DELETE FROM sites WHERE fetched < ?", (time.time() - KEPT_SECONDS,))
            self._database = database

    def get(self, url: str) -> str | None:
        """Return the text at a URL if it was fetched not long ago."""
        with suppress(sqlite3.Error):
            query, since = "SELECT text FROM sites WHERE url = ? AND fetched > ?", time.time() - KEPT_SECONDS
            found = self._database.execute(query, (url, since)).fetchone() if self._database else None
            return str(found[0]) if found else None
        return None

    def put(self, url: str, text: str) -> None:
        """Keep the text at a URL, unless it is unusually long."""
        with suppress(sqlite3.Error):
            if self._database and len(text) <= _LARGEST:
                self._database.execute("INSERT OR REPLACE INTO sites VALUES (?, ?, ?)", (url, time.time(), text))

    def close(self) -> None:
        """Close the database."""
        if self._database:
            self._database.close()
