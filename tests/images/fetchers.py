"""Fetches URLs under the host limits of a lake, as a process: `python -m tests.images.fetchers FOLDER URL...`."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from kale_tasks.images.fetch import ImageFetcher
from kale_tasks.images.fetch_slot import FetchSlot
from kale_tasks.images.rate_limit import Share
from kale_tasks.images.web import WebClient
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.settings.images import Fetch
from tests.images.world import settings

RATE, CONNECTIONS = 40, 3


def limited(root: Path) -> Fetch:
    """Return the limits that all processes share."""
    return settings(root, f"images.fetch.host_rate={RATE}", f"images.fetch.host_concurrency={CONNECTIONS}").images.fetch


async def fetch(of: Fetch, share: Share, urls: Sequence[str]) -> int:
    """Fetch all URLs at once and return how many gave an image."""
    web = WebClient(of, lambda name, value: None)
    fetcher = ImageFetcher(of, web, lambda name, value: None, share)

    async def one(url: str) -> bool:
        async with fetcher.fetch(url) as response:
            return response.reason is None

    try:
        return sum(await asyncio.gather(*(one(url) for url in urls)))
    finally:
        await web.close()


if __name__ == "__main__":
    limits = limited(Path(sys.argv[1]))
    with FetchSlot(FolderStorage(sys.argv[1]), limits.host_concurrency) as slot:
        print(asyncio.run(fetch(limits, slot, sys.argv[2:])))
