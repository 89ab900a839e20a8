"""Reading images from shards of the warehouse and of the landing, and writing tars."""

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.errors import BadData
from kale_tasks.lake.shards import LANDING, Span, TarWriter, read_image, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.settings import load

_DATA = random.Random(7).randbytes(300_000)
_FILES = [_DATA[n * 700 : n * 900] for n in range(200)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root: Path = tmp_path_factory.mktemp("shards")
    lake = Lake(load([f"warehouse={root}/warehouse", f"landing={root}/landing"], environ={}).settings)
    lake.storage.put("images/key=a/f/shard-00000.tar", _DATA)
    (root / "landing/a").mkdir(parents=True)
    with TarWriter(root / "landing/a/00000.tar") as tar:
        for number, content in enumerate(_FILES):
            tar.add(f"{number}.jpg", content)
    return lake


@pytest.fixture(scope="module")
def landed(lake: Lake) -> list[Span]:
    """Where the files of the tar in the landing are."""
    with tarfile.open(Path(lake.settings.landing, "a/00000.tar")) as tar:
        return [Span(f"{LANDING}a/00000.tar", member.offset_data, member.size) for member in tar]


def test_an_image_is_read_from_the_warehouse_and_from_the_landing(lake: Lake, landed: list[Span]) -> None:
    assert read_image(lake, "images/key=a/f/shard-00000.tar", 1000, 50) == _DATA[1000:1050]
    assert read_image(lake, *landed[9]) == _FILES[9]


@given(st.lists(st.tuples(st.integers(0, 290_000), st.integers(0, 9_000)) | st.integers(0, 199), max_size=40))
def test_images_are_returned_in_the_order_of_the_request(
    lake: Lake, landed: list[Span], wanted: list[tuple[int, int] | int]
) -> None:
    spans = [landed[o] if isinstance(o, int) else Span("images/key=a/f/shard-00000.tar", *o) for o in wanted]
    stored = [_FILES[o] if isinstance(o, int) else _DATA[o[0] : o[0] + o[1]] for o in wanted]
    assert read_images(lake, spans) == stored


def test_neighbours_are_read_with_one_request(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = lake.storage.read
    monkeypatch.setattr(lake.storage, "read", lambda *a: (reads.append(1), read(*a))[1])
    spans = [Span("images/key=a/f/shard-00000.tar", offset, 900) for offset in range(0, 200_000, 1_000)]
    assert len(read_images(lake, spans)) == 200
    assert len(reads) == 1


@pytest.mark.parametrize("span", [Span(f"{LANDING}a/missing.tar", 0, 10), Span(f"{LANDING}a/00000.tar", 1 << 30, 10)])
def test_a_missing_or_truncated_shard_is_named_in_the_error(lake: Lake, span: Span) -> None:
    with pytest.raises(BadData, match=r"tar is (missing|shorter)"):
        read_image(lake, *span)


@pytest.mark.parametrize(
    "open_tar",
    [
        lambda path: tarfile.open(path, "w"),  # noqa: SIM115
        lambda path: tarfile.open(path, "w", format=tarfile.USTAR_FORMAT),  # noqa: SIM115
        lambda path: tarfile.TarFile(path, "w"),
    ],
    ids=["default", "ustar", "pax"],
)
@given(files=st.lists(st.tuples(st.from_regex(r"[0-9a-f/]{1,40}\.(jpg|txt|json)", fullmatch=True), st.binary())))
def test_a_tar_has_the_bytes_that_the_standard_library_writes(
    tmp_path_factory: pytest.TempPathFactory,
    open_tar: Callable[[Path], tarfile.TarFile],
    files: list[tuple[str, bytes]],
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    with open_tar(folder / "standard.tar") as standard, TarWriter(folder / "ours.tar") as ours:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            standard.addfile(member, io.BytesIO(content))
            ours.add(name, content)
    assert (folder / "ours.tar").read_bytes() == (folder / "standard.tar").read_bytes()


def test_the_offset_of_a_file_in_a_tar_is_that_of_its_content(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "a.tar") as tar:
        offsets = {n: tar.add(f"{n}.jpg", bytes([n]) * n * 300) for n in range(5)}
    data = (tmp_path / "a.tar").read_bytes()
    assert [data[offsets[n] : offsets[n] + n * 300] for n in range(5)] == [bytes([n]) * n * 300 for n in range(5)]
