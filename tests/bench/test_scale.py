"""What docs/scale.md says of costs is what the tables of bench/ say."""

import re
from pathlib import Path

import pytest

from bench.scale import tables

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs/scale.md").read_text("utf-8").split())
DEDUP = r"\| 200,000 \| {} \|.*?\| idle \| (\d+) \|"
KEYS = r"## 12 passes.*?\| {} \| {} \| [\d.]+ ± [\d.]+ \| ([\d.]+) ±"
AT_ONCE = r"\| {} \| 32 commits at once \| [\d.]+ ± [\d.]+ \| ([\d.]+) ±"
INDEX = r"\| {} \| {} \|(?: [\d.]+ ± [\d.]+)? +\| ([\d.]+)"

# What the page says, with a group for each figure; the table, and what finds the figures there, those of one added up.
Found = list[list[str]]
QUOTES: list[tuple[str, str, Found]] = [
    (
        r"costs (\d+) µs of CPU a row at 200,000 rows with the rules off, (\d+) with them on",
        "dedup",
        [[DEDUP.format("ingest on DuckDB")], [DEDUP.format("ingest on DuckDB, rules on")]],
    ),
    (
        r"costs (\d+) µs a row by facts.*?datatrove's (\d+) µs and less than the (\d+) µs of bare rensa.*?"
        r"By MinHash it costs (\d+) µs",
        "dedup",
        [[DEDUP.format(of)] for of in ("its deduplication alone", "datatrove", "bare rensa", "the same by MinHash")],
    ),
    (
        r"spends ([\d.]+) CPU seconds on searching the index of 10 keys of its size, ([\d.]+) beside 100 and ([\d.]+) "
        r"beside 300",
        "index",
        [[INDEX.format(keys, "search")] for keys in (10, 100, 300)],
    ),
    (
        r"index costs ([\d.]+), ([\d.]+) and ([\d.]+) seconds a key",
        "index",
        [
            [INDEX.format(keys, f"{of}, mean while growing") for of in ("search with merges", "commit")]
            for keys in (10, 100, 300)
        ],
    ),
    (
        r"`kale status` ([\d.]+) and ([\d.]+) and `kale plan` ([\d.]+) and ([\d.]+)",
        "keys",
        [[KEYS.format(keys, of)] for of in ("kale status", "kale plan") for keys in (10, 1000)],
    ),
    (
        r"commit ([\d.]+) and ([\d.]+), commit in place of other rows ([\d.]+) and ([\d.]+), a pass ([\d.]+) and "
        r"([\d.]+), ingest of 20,000 rows ([\d.]+) and ([\d.]+\d)",
        "keys",
        [[KEYS.format(keys, of)] for of in ("commit", "commit again", "a pass", "ingest") for keys in (10, 1000)],
    ),
    (
        r"32 of them take ([\d.]+) seconds beside 10 keys and ([\d.]+) beside 1,000",
        "keys",
        [[AT_ONCE.format(10)], [AT_ONCE.format(1000)]],
    ),
]


def test_the_page_shows_the_estimates_of_the_rates() -> None:
    assert tables() in (ROOT / "docs/scale.md").read_text("utf-8")


@pytest.mark.parametrize(("said", "table", "figures"), QUOTES, ids=[table + said[:30] for said, table, _ in QUOTES])
def test_a_figure_of_the_page_is_that_of_the_table(said: str, table: str, figures: Found) -> None:
    measured = (ROOT / f"bench/{table}.md").read_text("utf-8")
    quoted = re.search(said, PAGE)
    assert quoted, "the page does not say so any more"
    for text, parts in zip(quoted.groups(), figures, strict=True):
        found = sum(float(match[1]) for match in (re.search(part, measured, re.S) for part in parts) if match)
        assert text == f"{found:.{len(text.partition('.')[2])}f}", parts
