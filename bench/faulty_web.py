"""The sample web with 5,000 addresses: which end as they must, what a redrive heals, how politely they were asked."""

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
    from tests.images.faulty import ENDS, NEVER_ASKED, address, ends, faulty_web, seen
    from tests.images.world import images, lake_with, pairs_of, settings, uid

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    rng = Random(1)
    faults = [*ENDS, *(make_fault(rng).name for _ in range(count - len(ENDS)))]
    with faulty_web() as base, tempfile.TemporaryDirectory() as folder:
        of = settings(Path(folder), "images.fetch.tries=1", "images.fetch.seconds=20", f"images.fetch.host_rate={RATE}",
                      "parts.part_rows=500", "parts.chunk_rows=5000")  # fmt: skip
        urls = {address(base, fault, i): fault for i, fault in enumerate(faults)}
        lake = lake_with(of, pairs_of(list(urls)))
        began, cpu = time.monotonic(), time.process_time()
        first = images(lake, of)
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        log = seen(base)
        second = images(lake, of, again=True)
        asked_again = len(seen(base)) - len(log)
        found = [{url: _end(rows.get(uid(url))) for url in urls} for rows in (first, second)]
    right = [sum(found[again][url] == ends(fault, bool(again)) for url, fault in urls.items()) for again in (0, 1)]
    wrong = Counter((urls[url], end) for url, end in found[1].items() if end != ends(urls[url], True))
    by_host: dict[str, list[float]] = defaultdict(list)
    for one in log:
        by_host[one["host"]].append(one["at"])
    most = max(sum(start <= at < start + 1 for at in times) for times in by_host.values() for start in times)
    forbidden = sum(one["path"].split("/")[1] in NEVER_ASKED for one in log)
    lines = [
        f"# The sample web, {count} addresses",
        "",
        f"First run, each address asked once: {right[0]} of {count} end as they must ({wall:.0f} s, {cpu:.0f} CPU s of "
        f"the main process). After a redrive, which made {asked_again} requests: {right[1]} of {count}.",
        f"Wrong ends after the redrive: {dict(wrong) or 'none'}.",
        f"Of one host at most {most} requests in a second ({RATE} allowed, a quarter of a second of burst); "
        f"{forbidden} requests for what robots.txt or tdmrep.json forbid.",
    ]
    (ROOT / "bench/faulty_web.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _end(row: dict[str, Any] | None) -> str:
    # A placeholder is quarantined although its address returned what it should.
    return (row["reason"] or "ok") if row else "ok"


if __name__ == "__main__":
    main()
