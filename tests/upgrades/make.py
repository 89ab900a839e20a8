"""Makes the lake of today's layout that later versions must be able to use: `python -m tests.upgrades.make`.

Never make a file again that is committed: the lakes of users are like it. A new layout gets a file of its own.
"""

import shutil
import tarfile
from pathlib import Path

from kale_tasks.lake.identity import LAYOUT
from tests.captions.conftest import COMMON
from tests.captions.world import Pair, give, pairs, run_captions
from tests.engines.server import completion, serving
from tests.lakes import lake_of

CAPTION = "A small red tower is at the left. The background is plain white."
PLACE = Path("/tmp/kale-lake")
GIVEN: list[Pair] = [pair for pair in pairs(16) if pair.split == "stage1"]


def main() -> None:
    """Make a lake with the captions of one key, and pack it."""
    with serving(reply=lambda body: completion(CAPTION)) as server:
        served = [f"caption.endpoints.models.{name}=[{server.url}]" for name in ("vlm", "llm")]
        lake, settings = lake_of([f"warehouse={PLACE}", *COMMON, "caption.engine=openai", *served])
        give(lake, settings, GIVEN)
        run_captions(lake, settings)
    with tarfile.open(Path(__file__).with_name(f"layout{LAYOUT}.tar.xz"), "w:xz") as packed:
        packed.add(PLACE, "lake")
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
