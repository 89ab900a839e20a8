"""Two steps on rows that are numbers, without any store: what a run of them must come to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

PARTS = 2
POISON = 99  # a row that the check refuses

Lost = tuple[tuple[int, str], ...]


class Part(NamedTuple):
    """The rows of one part, and the account of those that did not make it."""

    rows_in: int
    rows: tuple[tuple[int, str], ...]
    lost: Lost = ()
    dropped: int = 0
    quarantined: tuple[int, ...] = ()


class Index(NamedTuple):
    """What deduplication knows of a key: rows kept, and rows lost to an earlier key with that key."""

    kept: tuple[int, ...]
    lost: Lost


def meets(one: int, other: int) -> bool:
    """Whether two rows are near duplicates; not transitive, like the real relation."""
    return abs(one - other) <= 1


def span(numbers: Sequence[int], number: int) -> Sequence[int]:
    """The rows of one part."""
    return numbers[2 * number : None if number == PARTS - 1 else 2 * number + 2]


def ingest(landed: Sequence[int], setting: int, earlier: Mapping[str, Iterable[int]]) -> list[Part]:
    """Clean and deduplicate, within the key and against what earlier keys keep."""
    kept: list[int] = []
    made = []
    for number in range(PARTS):
        rows, lost, quarantined, dropped = [], [], [], 0
        for row in span(landed, number):
            owner = next((key for key in sorted(earlier) if any(meets(row, e) for e in earlier[key])), None)
            if row % 7 == 0:
                quarantined.append(row)
            elif setting and row % 5 == 0:
                dropped += 1
            elif owner:
                lost.append((row, owner))
            elif any(meets(row, other) for other in kept):
                dropped += 1
            else:
                kept.append(row)
                rows.append((row, ""))
        made.append(Part(len(span(landed, number)), tuple(rows), tuple(lost), dropped, tuple(quarantined)))
    return made


def contradicts(later: Index, key: str, kept: Iterable[int]) -> bool:
    """Whether a later key's index contradicts what an earlier key keeps."""
    kept = tuple(kept)
    doubled = any(meets(row, other) for row in later.kept for other in kept)
    return doubled or any(owner == key and not any(meets(row, e) for e in kept) for row, owner in later.lost)


def undisturbed(landing: Mapping[str, Sequence[int]], setting: int, taken: frozenset[int]) -> dict[str, set[int]]:
    """The rows of each key of a lake where nothing ever went wrong."""
    kept: dict[str, list[int]] = {}
    for key in sorted(landing):
        kept[key] = [row for part in ingest(landing[key], setting, kept) for row, _ in part.rows]
    return {key: set(rows) - taken for key, rows in kept.items()}
