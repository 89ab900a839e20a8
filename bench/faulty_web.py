"""The sample web with 5,000 addresses: results of a first and a second run, and how politely hosts are asked."""

import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
RATE = 50


def main() -> None:
    """Measure and write the page."""
    from kale_tasks.world.faults import make_fault
    from tests.images.faulty import ENDS

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    rng = Random(1)
    lines = measure([*ENDS, *(make_fault(rng).name for _ in range(count - len(ENDS)))])
    (ROOT / "bench/faulty_web.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def measure(faults: list[str]) -> list[str]:
    """Fetch an address of each fault, then again what may heal, and return the lines of the page."""
    from tests.images.faulty import address, ends, faulty_web, seen
    from tests.images.world import images, lake_with, pairs_of, uid

    with faulty_web() as base, tempfile.TemporaryDirectory() as folder:
        options = _settings(Path(folder))
        urls = {address(base, fault, i): fault for i, fault in enumerate(faults)}
        lake = lake_with(options, pairs_of(list(urls)))
        began, cpu = time.monotonic(), time.process_time()
        first = images(lake, options)
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        log = seen(base)
        second = images(lake, options, again="again")
        asked_again = len(seen(base)) - len(log)
    found = [{url: _end(rows.get(uid(url))) for url in urls} for rows in (first, second)]
    right = [sum(found[run][url] == ends(fault, run == 1) for url, fault in urls.items()) for run in (0, 1)]
    wrong = Counter((urls[url], end) for url, end in found[1].items() if end != ends(urls[url], True))
    return [
        f"# The sample web, {len(urls)} addresses",
        "",
        f"First run, each address asked once: {right[0]} of {len(urls)} end as expected ({wall:.0f} s, {cpu:.0f} CPU s "
        f"of the main process). A second run with `--again` made {asked_again} requests: {right[1]} of {len(urls)}.",
        f"Unexpected after the second run: {dict(wrong) or 'none'}.",
        *_politeness(log),
    ]


def _settings(folder: Path) -> Any:
    from tests.images.world import settings

    fetching = ("images.fetch.tries=1", "images.fetch.seconds=20", f"images.fetch.host_rate={RATE}")
    return settings(folder, *fetching, "parts.part_rows=500", "parts.chunk_rows=5000")


def _politeness(log: list[dict[str, Any]]) -> list[str]:
    from tests.images.faulty import NEVER_ASKED

    by_host: dict[str, list[float]] = defaultdict(list)
    for one in log:
        by_host[one["host"]].append(one["at"])
    most = max(sum(start <= at < start + 1 for at in times) for times in by_host.values() for start in times)
    forbidden = sum(one["path"].split("/")[1] in NEVER_ASKED for one in log)
    return [
        f"At most {most} requests in a second to one host ({RATE} allowed, plus a burst of a quarter of a second); "
        f"{forbidden} requests for what robots.txt or tdmrep.json forbid."
    ]


def _end(row: dict[str, Any] | None) -> str:
    # A placeholder is quarantined although its address returned what it should.
    return (row["reason"] or "ok") if row else "ok"


if __name__ == "__main__":
    main()
