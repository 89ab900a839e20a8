"""What people say of texts: votes, verdicts on sentences, edits and reports. One file of a key in the table `reviews`.

A file replaces the one before in one swap that is compared with what was read, so that of two writers at once the
later one reads again. Nothing is stored of a row that was taken down.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.lake import parts
from kale_tasks.lake.columns import fill_columns
from kale_tasks.lake.commit import Swap, read_base, retry_moved, swap
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.tombstones import matcher

TABLE = "reviews"
PREFERENCE, SENTENCE, EDIT, REPORT = "preference", "sentence", "edit", "report"
KINDS = (PREFERENCE, SENTENCE, EDIT, REPORT)
_TRIES = 30


@dataclass(frozen=True)
class Review:
    """One judgement; `docs/data.md` has the meaning of each field."""

    uid: str
    key: str
    kind: str
    by: str
    side: str = ""
    against: str = ""
    sentence: int | None = None
    value: str = ""
    text: str = ""
    of: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    source: str = "page"

    @property
    def review(self) -> str:
        """The same for another judgement of this person on the same text: the later one counts."""
        place = (self.uid, self.key, self.kind, self.by, self.side, self.against, str(self.sentence))
        return short_sha256("\0".join(place))


def hash_of(*texts: str) -> str:
    """Return the hash by which a judged text is known again."""
    return short_sha256("\0".join(texts))


def add(lake: Lake, key: str, reviews: Iterable[Review]) -> int:
    """Add judgements on rows of a key, in place of earlier ones of the same person; return how many are stored now."""
    new = {one.review: {**asdict(one), "review": one.review} for one in reviews}

    def change(old: pa.Table) -> pa.Table:
        kept = old.filter(pc.invert(pc.is_in(old["review"], value_set=pa.array(list(new), pa.string()))))
        return pa.concat_tables([kept, pa.Table.from_pylist(list(new.values()), schema=TABLES[TABLE].arrow)])

    return _change(lake, key, change) if new else read(lake, key).num_rows


def remove(lake: Lake, key: str, uids: pa.Array) -> None:
    """Remove the judgements on rows that are taken down."""
    _change(lake, key, lambda rows: rows.filter(pc.invert(pc.is_in(rows["uid"], value_set=uids))))


def read(lake: Lake, key: str | None = None, columns: list[str] | None = None, uid: str = "") -> pa.Table:
    """Read the judgements on a key, on all keys, or on one row."""
    if TABLE not in lake.tables():
        return TABLES[TABLE].selected(columns).empty_table()
    rows = lake.arrow(TABLE, key, columns, f"uid = '{uid}'" if uid else None)
    return fill_columns(rows, TABLES[TABLE].selected(columns))


def _change(lake: Lake, key: str, change: Callable[[pa.Table], pa.Table]) -> int:
    return retry_moved(lambda: _change_once(lake, key, change), _TRIES)


def _change_once(lake: Lake, key: str, change: Callable[[pa.Table], pa.Table]) -> int:
    base, epoch = read_base(lake, Partition.of(TABLE, key))
    changed = change(fill_columns(lake.arrow(TABLE, key), TABLES[TABLE].arrow))
    allowed = changed.filter(pc.invert(matcher(lake).matches(changed)))
    rows = allowed.sort_by([("uid", "ascending"), ("review", "ascending")])
    name = short_sha256(repr(rows.to_pylist()))
    account = PartMeta(name, 0, len(rows), len(rows))
    # A file without rows does not say of which key it is.
    paths = [parts.write(lake.storage, f"{TABLE}/key={key}/{name}", account, rows).path] if len(rows) else []
    new = Committed(name, content=name, rows=len(rows), parts=len(paths), snapshot_id=0, at="")
    swap(lake, Swap(TABLE, key, {}, "review", paths, base, new, epoch=epoch))
    return int(rows.num_rows)
