"""What comes late or is replaced: a second attempt overwrites no shard, and another evaluation set is another input."""

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.images.open_parts import OpenPart, _store_images
from kale_tasks.images.spool import Spool
from kale_tasks.images.step import Images
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.release.choice import UnfitCaptions
from kale_tasks.runner.run import Run
from tests.images.plain import image
from tests.images.test_adopt import pair, write_tar
from tests.images.world import KEY, images, lake_with, pairs_of, settings


def test_two_attempts_at_a_part_that_received_other_bytes_store_two_shards(tmp_path: Path) -> None:
    of = settings(tmp_path)
    lake = lake_with(of, pairs_of(["https://a.example/1.jpg"]))
    stored = []
    for attempt in (1, 2):
        row = {"uid": "a" * 32, "status": "ok"}
        with Spool(tmp_path / f"spool-{attempt}" / "run" / "part-00000") as spool:
            spool.add(row, image(attempt))
            part = OpenPart(0, 1, spool)
            _store_images(Run(Images(), lake, of, KEY), part, rows := [dict(row)])
        stored.append(Span(*(rows[0][name] for name in ("shard", "offset", "length"))))
    assert stored[0].shard != stored[1].shard
    assert read_images(lake, stored) == [image(1), image(2)]


def test_what_was_made_from_a_tar_that_was_replaced_is_not_fit_for_a_release(tmp_path: Path) -> None:
    of = settings(tmp_path)
    path = write_tar(tmp_path, "00000000", {i: image(i) for i in range(9)})
    lake = lake_with(of, [pair(i) for i in range(9)])

    def reason() -> str:
        committed = lake.committed("images", KEY)
        assert committed
        return UnfitCaptions(lake).reason(KEY, committed)

    images(lake, of)
    assert not reason()
    write_tar(tmp_path, "00000000", {i: image(8 - i) for i in range(9)})
    assert "landing files that are replaced" in reason()
    images(lake, of)
    assert not reason()
    (path.parent / "later.csv").write_text("url,text\n")
    assert not reason(), "no image can come from there"
    path.unlink()
    assert not reason(), "a release of captions needs no tar"


def test_an_evaluation_set_that_is_replaced_is_another_input(tmp_path: Path) -> None:
    of = settings(tmp_path, "images.evaluation=_eval")
    path = tmp_path / "landing" / "_eval" / "items.parquet"
    path.parent.mkdir(parents=True)
    found = []
    for number in (1, 2):
        out = io.BytesIO()
        pq.write_table(pa.table({"image": [image(number)]}), out, compression="none")
        path.write_bytes(out.getvalue().ljust(9000, b"\0"))
        os.utime(path, (1e9, 1e9))
        found.append(Images().inputs(lake_with(of, pairs_of(["https://a.example/1.jpg"])), of, KEY)["evaluation"])
    assert found[0] != found[1], "of the same size and time"
