"""Retires texts of passes that no recipe has any more: they leave their table, and maintenance deletes the files.

A changed pass has another id and writes its texts beside the old ones. The old texts are kept while something depends
on them: captions of the key, of whatever recipe, a planned run, or other texts that are kept.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from kale_tasks.captions.steps import pass_specs
from kale_tasks.errors import BadConfig
from kale_tasks.lake.commit import Moved, discard
from kale_tasks.lake.freshness import texts_by_key, with_sources
from kale_tasks.lake.holds import read_hold
from kale_tasks.lake.index import LOOKS
from kale_tasks.lake.maintain import WITHDRAWN
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.files import recipes_of
from kale_tasks.runner.verbs import read_plan
from kale_tasks.settings import Settings

_LOG = logging.getLogger(__name__)


def retire(lake: Lake, settings: Settings, grace: timedelta, *, dry_run: bool = False) -> list[Partition]:
    """Take the texts out of their table that nobody has used for this long, and return their partitions."""
    try:
        wanted = {spec.name for recipe in recipes_of(settings) for spec in pass_specs(recipe)}
    except BadConfig as error:
        _LOG.warning("No texts are retired, because the passes of the recipes are not known. %s", error)
        return []
    found = [Partition.of("texts", key, {"pass": name}) for key, name in _unused(lake, wanted, grace)]
    return found if dry_run else [partition for partition in found if _discarded(lake, partition)]


def _unused(lake: Lake, wanted: Iterable[str], grace: timedelta) -> Iterator[tuple[str, str]]:
    """Yield key and id of the passes that nothing is made of."""
    if not {"texts", "captions"} <= set(lake.tables()):
        return
    captions = lake.partitions("captions")
    for key, texts in texts_by_key(lake).items():
        if texts.keys() <= set(wanted):
            continue
        made = [committed for partition, committed in captions.items() if partition.key == key]
        named = [*wanted, *(name for one in made for name in one.inputs), *_planned(lake, key)]
        kept = with_sources(named, texts)
        before = datetime.now(UTC) - grace
        # What replaced them was committed last: their time begins then.
        if all(datetime.fromisoformat(one.at) < before for one in (*made, *texts.values())):
            yield from ((key, name) for name in texts.keys() - kept)


def _planned(lake: Lake, key: str) -> Iterator[str]:
    """Yield the inputs of every run of a key that is planned, not sealed and not withdrawn."""
    for table in ("texts", "captions"):
        paths = {entry.path for entry in lake.storage.entries(f"{table}/key={key}")}
        for path in paths:
            folder, _, name = path.rpartition("/")
            if name == "plan.json" and f"{folder}/{WITHDRAWN}" not in paths and f"{folder}/run.json" not in paths:
                plan = read_plan(lake, folder)
                yield from plan.inputs if plan else ()


def _discarded(lake: Lake, partition: Partition) -> bool:
    if read_hold(lake.storage, partition):
        return False
    sides = [Partition.of("quarantine", partition.key, {"step": partition.columns["pass"]})]
    sides += [Partition.of(LOOKS, partition.key, partition.columns)] if LOOKS in lake.tables() else []
    found = [(one, lake.committed(one.table, one.key, one.columns)) for one in (partition, *sides)]
    try:
        for one, committed in found:
            if committed:
                discard(lake, one, committed)
    except Moved:
        return False  # somebody has made it again just now
    return True
