"""Reports show captions beside pictures: those with a row that was taken down are deleted, and can be made again."""

import re
from collections.abc import Collection

from kale_tasks.lake.tables import Lake
from kale_tasks.lake.tombstones import digest
from kale_tasks.quality.stored import delete_report, report_names

UID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def delete_reports(lake: Lake, removed: Collection[str]) -> None:
    """Delete the reports of keys and releases that contain a uid with one of these digests."""
    for name, paths in report_names(lake.storage).items():
        found = {uid for path in paths for uid in UID.findall(lake.storage.read(path))}
        if any(digest("uid", uid.decode()) in removed for uid in found):
            delete_report(lake.storage, name)
