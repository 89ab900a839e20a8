"""Images that were lost to a limit of their decoders are tried again once the limit is larger, and not before."""

from itertools import count
from pathlib import Path

import pytest

from kale_tasks.images.decode_limits import limits, limits_raised
from kale_tasks.images.reasons import Reason
from tests.images.plain import plain_server
from tests.images.world import images, lake_with, pairs_of, settings, uid


def test_a_redrive_with_larger_limits_tries_what_was_too_large_for_them(tmp_path: Path) -> None:
    with plain_server() as server:
        urls = [server.url(0, "large"), server.url(1, "gone")]
        first = settings(tmp_path, "images.decode.memory_mb=256")
        lake, tries = lake_with(first, pairs_of(urls)), count()

        def outcome(memory: int, seconds: float) -> tuple[str, int]:
            before = server.seen["/large/0.jpg"]
            limits = (f"images.decode.memory_mb={memory}", f"images.decode.seconds={seconds}")
            row = images(lake, settings(tmp_path, *limits), again=f"try {next(tries)}")[uid(urls[0])]
            return row["reason"] or row["status"], server.seen["/large/0.jpg"] - before

        assert outcome(256, 60) == ("too_many_pixels", 1)
        assert outcome(256, 60) == ("too_many_pixels", 0), "the same limits would end the same"
        assert outcome(2048, 0.05) == ("decode_timeout", 1)
        assert outcome(2048, 0.05) == ("decode_timeout", 0)
        assert outcome(1024, 0.01) == ("decode_timeout", 0), "smaller limits cannot help"
        assert outcome(2048, 60) == ("ok", 1)
        assert outcome(4096, 90) == ("ok", 0)
        assert server.seen["/gone/1.jpg"] == 1, "no decoder gave that one up"


@pytest.mark.parametrize(
    ("reason", "detail", "raised"),
    [
        (Reason.DECODE_TIMEOUT, "", True),  # rows of earlier versions do not say which limit
        (Reason.DECODE_TIMEOUT, None, True),
        (Reason.TOO_MANY_PIXELS, "MemoryError: ", True),
        (Reason.TOO_MANY_PIXELS, "90000x90000", False),
        (Reason.TOO_MANY_PIXELS, "DecompressionBombError: Image size exceeds limit", False),
        (Reason.BROKEN_IMAGE, "OSError: decoded with 0.1 s and 1 MB", False),
        (Reason.DECODE_CRASHED, "decoded with 1e-05 s and 256 MB", True),
        (Reason.DECODE_CRASHED, "decoded with 1000.0 s and 65536 MB", False),
    ],
)
def test_only_images_that_a_limit_may_have_lost_are_tried_again(
    tmp_path: Path, reason: Reason, detail: str | None, raised: bool
) -> None:
    decode = settings(tmp_path).images.decode
    row = {"status": "failed", "reason": reason, "detail": detail}
    assert limits_raised(row, decode) is raised
    assert not limits_raised({**row, "detail": f"MemoryError: {limits(decode)}"}, decode)
