"""Tells a dead network from dead addresses, so that a run without a network never passes for a finished one."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kale_tasks.errors import Transient
from kale_tasks.images.fetch import Fetcher
from kale_tasks.images.fetch_loop import Batch
from kale_tasks.images.reasons import Reason
from kale_tasks.lake.parts import part_path, standing
from kale_tasks.lake.snapshot import Rows
from kale_tasks.runner.run import Run

_PROBES = 5
_PARTS_LOOKED_AT = 20
_NOT_TRIED = {Reason.BAD_URL, Reason.PRIVATE_ADDRESS}


def unanswered(batch: Batch) -> bool:
    """Whether addresses were asked for a batch and no server said anything."""
    reasons = [Reason(name) for name in batch.reasons if name != "ok"]
    tried = [reason for reason in reasons if reason not in _NOT_TRIED]
    return "ok" not in batch.reasons and bool(tried) and all(reason.unanswered for reason in tried)


async def alive(fetcher: Fetcher, addresses: Sequence[str]) -> bool:
    """Whether one of some servers says anything."""
    for address in addresses:
        if await fetcher.answers(address):
            return True
    return False


def dead(batch: Batch) -> Transient:
    """What to say of a dead network."""
    most = batch.reasons.most_common(1)[0][0]
    return Transient(
        f"The network seems dead: {sum(batch.reasons.values())} images of part {batch.number} were asked for and no "
        f"server answered (mostly {most}). Check resolver and network, then run again: what came is kept."
    )


def once_good(run: Run) -> list[str]:
    """Some addresses that images came from, in this run or the standing one."""
    numbers = list(standing(run.lake.storage, run.folder, run.fingerprint))[:_PARTS_LOOKED_AT]
    for number in numbers:
        with run.lake.storage.arrow.open_input_file(part_path(run.folder, number)) as file:
            if found := _came(pq.read_table(file, columns=["status", "final_url"])):
                return found
    if run.standing is not None:
        for rows in Rows(run.lake, "images", run.key).batches(["status", "final_url"]):
            if found := _came(rows):
                return found
    return []


def _came(rows: pa.Table) -> list[str]:
    came = rows.filter(pc.and_(pc.equal(rows["status"], "ok"), pc.is_valid(rows["final_url"])))
    return [str(url) for url in came["final_url"].slice(0, _PROBES).to_pylist()]
