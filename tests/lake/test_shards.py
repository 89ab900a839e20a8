"""Reading images from shards of the warehouse and of the landing."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadData
from kale_tasks.lake.shards import LANDING, Span, read_image, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load

_DATA = random.Random(7).randbytes(300_000)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root: Path = tmp_path_factory.mktemp("shards")
    lake = Lake(load([f"warehouse={root}/warehouse", f"landing={root}/landing"], environ={}).settings)
    lake.storage.put("images/key=a/f/shard-00000.tar", _DATA)
    (root / "landing/a").mkdir(parents=True)
    (root / "landing/a/00000.tar").write_bytes(_DATA[::-1])
    return lake


def test_an_image_is_read_from_the_warehouse_and_from_the_landing(lake: Lake) -> None:
    assert read_image(lake, "images/key=a/f/shard-00000.tar", 1000, 50) == _DATA[1000:1050]
    assert read_image(lake, f"{LANDING}a/00000.tar", 1000, 50) == _DATA[::-1][1000:1050]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 290_000), st.integers(0, 9_000)), max_size=40))
def test_many_images_come_in_the_order_asked_for(lake: Lake, wanted: list[tuple[bool, int, int]]) -> None:
    names = {True: "images/key=a/f/shard-00000.tar", False: f"{LANDING}a/00000.tar"}
    spans = [Span(names[ours], offset, length) for ours, offset, length in wanted]
    stored = {True: _DATA, False: _DATA[::-1]}
    assert read_images(lake, spans) == [stored[ours][offset : offset + length] for ours, offset, length in wanted]


def test_neighbours_are_read_at_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = lake.storage.read
    monkeypatch.setattr(lake.storage, "read", lambda *a: (reads.append(1), read(*a))[1])
    spans = [Span("images/key=a/f/shard-00000.tar", offset, 900) for offset in range(0, 200_000, 1_000)]
    assert len(read_images(lake, spans)) == 200
    assert len(reads) == 1


@pytest.mark.parametrize("span", [Span(f"{LANDING}a/gone.tar", 0, 10), Span(f"{LANDING}a/00000.tar", 299_999, 10)])
def test_a_shard_that_is_gone_or_cut_is_named(lake: Lake, span: Span) -> None:
    with pytest.raises(BadData, match=r"gone|shorter"):
        read_image(lake, *span)
