"""Figures of bench/*.md that other files repeat: the rates of `kale estimate`, and docs/scale.md.

`python -m bench.results` renews them after a measurement; tests compare.
"""

import re
from pathlib import Path

from kale_tasks.resources import parse_yaml

ROOT = Path(__file__).parents[1]
RATES, PAGE = ROOT / "kale_tasks/explore/rates.yaml", ROOT / "docs/scale.md"

DEDUP = r"\| 200,000 \| {} \|.*?\| idle \| (\d+) \|"
KEYS = r"## 12 passes.*?\| {} \| {} \| [\d.]+ ± [\d.]+ \| ([\d.]+) ±"
AT_ONCE = r"\| {} \| 32 commits at once \| [\d.]+ ± [\d.]+ \| ([\d.]+) ±"
INDEX = r"\| {} \| {} \|(?: [\d.]+ ± [\d.]+)? +\| ([\d.]+)"

# What the page says, with a group for each figure; the table, and what finds the figures there, those of one added up.
QUOTES: list[tuple[str, str, list[list[str]]]] = [
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


def measured_rates(rates: str) -> dict[str, float]:
    """The rates that name a table, by the figures that it has now."""
    return {
        name: float(f"{_figure(rate['source'], rate['figure']) * rate.get('scale', 1):.6g}")
        for name, rate in parse_yaml(rates).items()
        if "figure" in rate
    }


def renewed_rates(rates: str) -> str:
    """The text of rates.yaml with the figures of the tables."""
    for name, value in measured_rates(rates).items():
        rates = re.sub(rf"(?m)^({name}: {{value: )[\d.]+", rf"\g<1>{value:g}", rates)
    return rates


def renewed_page(page: str) -> str:
    """The text of docs/scale.md with the figures of the tables in its sentences."""
    for said, table, figures in QUOTES:
        quoted = re.search(said.replace(" ", r"\s+"), page, re.DOTALL)
        if not quoted:
            raise ValueError(f"docs/scale.md does not say so any more: {said}")
        for group, parts in reversed(list(enumerate(figures, 1))):
            found = sum(_figure(f"bench/{table}.md", f"(?s){part}") for part in parts)
            places = len(quoted[group].partition(".")[2])
            page = f"{page[: quoted.start(group)]}{found:.{places}f}{page[quoted.end(group) :]}"
    return page


def _figure(table: str, pattern: str) -> float:
    found = re.search(pattern, (ROOT / table).read_text("utf-8"))
    if not found:
        raise ValueError(f"{table} has nothing like {pattern}")
    return float(found[1])
