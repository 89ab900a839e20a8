"""Decoding images, and comparing them."""

import hashlib
import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from kale_tasks.images.decode import convert
from kale_tasks.images.decode_pool import DecodePool
from kale_tasks.images.duplicates import near_duplicates, placeholders
from kale_tasks.images.jpeg import without_metadata
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.settings import load
from kale_tasks.settings.images import Decode

DECODE = load(
    ["images.decode.workers=1", "images.decode.seconds=5", "images.decode.max_side=512"], environ={}
).settings.images.decode


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    with DecodePool(DECODE) as pool:
        yield pool


def test_a_large_image_is_scaled_down_and_a_small_one_is_not() -> None:
    checked, stored = convert(_saved(_gradient(1400, 700)), [], DECODE)
    assert (checked.width, checked.height) == (512, 256) == Image.open(io.BytesIO(stored)).size
    assert convert(_saved(_gradient(100, 60)), [], DECODE)[0][1:3] == (100, 60)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "RGBA", "LA", "1", "I;16", "F", "YCbCr"])
def test_every_pixel_format_becomes_rgb_or_grey(mode: str) -> None:
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG", "F": "TIFF"}.get(mode, "PNG")
    image = _gradient(64, 48)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert(mode)
    stored = Image.open(io.BytesIO(convert(_saved(image, kind), [], DECODE)[1]))
    assert stored.mode in ("RGB", "L")
    difference = np.asarray(stored.convert("L"), float) - np.asarray(_gradient(64, 48).convert("L"), float)
    dithered = mode in ("1", "P")  # right on the whole, not point by point
    assert (abs(difference.mean()) if dithered else np.abs(difference).mean()) < 6


def test_transparent_pixels_become_white() -> None:
    stored = Image.open(io.BytesIO(convert(_saved(Image.new("RGBA", (40, 40), (255, 0, 0, 0)), "PNG"), [], DECODE)[1]))
    assert stored.getpixel((20, 20)) == (255, 255, 255)


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 1)), (6, (1, 0)), (8, (0, 1))])
def test_an_image_is_rotated_upright_and_loses_its_exif_data(orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (80, 60), "white")
    image.paste((0, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    stored = Image.open(io.BytesIO(convert(out.getvalue(), [], DECODE)[1]))
    at = (corner[0] * (stored.width - 11) + 5, corner[1] * (stored.height - 11) + 5)
    assert sum(stored.getpixel(at)) < 100  # type: ignore[arg-type]
    assert not dict(stored.getexif())


@given(st.lists(st.none() | st.lists(st.none() | st.floats(), max_size=5), min_size=1, max_size=3))
@hypothesis_settings(max_examples=30)
def test_invalid_boxes_raise_no_error(boxes: list[list[float]]) -> None:
    assert convert(_saved(_gradient(40, 30)), boxes, DECODE)[0][1:3] == (40, 30)


def test_the_pixels_of_a_jpeg_that_needs_no_change_are_copied_without_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    for options in ({}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}):
        out = io.BytesIO()
        _gradient(300, 200).save(out, "JPEG", quality=80, exif=exif, comment=b"a comment", **options)
        raw = out.getvalue() + b"PK\x03\x04 appended"
        info, stored = convert(raw, [], DECODE)
        assert (info.width, info.height) == (300, 200)
        for secret in (b"camera", b"comment", b"appended"):
            assert secret in raw
            assert secret not in stored
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored))), np.asarray(Image.open(io.BytesIO(raw))))


@given(st.data())
@hypothesis_settings(max_examples=100)
def test_a_damaged_jpeg_is_copied_whole_or_not_at_all(data: st.DataObject) -> None:
    raw = bytearray(_saved(_gradient(60, 40)))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
    copied = without_metadata(bytes(raw))
    assert copied is None or (copied.startswith(b"\xff\xd8") and copied.endswith(b"\xff\xd9"))
    assert len(copied or b"") <= len(raw) + 20


def test_received_bytes_are_kept_if_requested_unless_a_face_is_blurred() -> None:
    raw = _saved(_gradient(1400, 700), "PNG")
    info, stored = convert(raw, [], _but(originals=True))
    assert (stored, info.width, info.height) == (raw, 1400, 700)
    assert convert(raw, [[0.1, 0.1, 0.4, 0.4]], _but(originals=True))[1] != raw


@pytest.mark.parametrize(("resize", "size"), [("longer", (512, 256)), ("shorter", (1024, 512)), ("none", (1400, 700))])
def test_the_setting_names_the_side_that_is_limited(resize: str, size: tuple[int, int]) -> None:
    for kind in ("JPEG", "PNG"):
        info, stored = convert(_saved(_gradient(1400, 700), kind), [], _but(resize=resize))
        assert Image.open(io.BytesIO(stored)).size == (info.width, info.height) == size


def test_the_first_frame_of_an_animation_is_stored() -> None:
    out = io.BytesIO()
    Image.new("RGB", (50, 50), "red").save(
        out, "GIF", save_all=True, append_images=[Image.new("RGB", (50, 50), "blue")]
    )
    checked, stored = convert(out.getvalue(), [], DECODE)
    red, _, blue = Image.open(io.BytesIO(stored)).getpixel((25, 25))  # type: ignore[misc]
    assert (red > 200, blue < 50) == (True, True)
    assert checked.flags == ["animated"]


def test_the_same_bytes_give_the_same_bytes(pool: DecodePool) -> None:
    raw = _saved(_gradient(900, 700))
    digests = {hashlib.sha256(pool.decode(raw)[1]).hexdigest() for _ in range(3)}
    assert digests == {hashlib.sha256(convert(raw, [], DECODE)[1]).hexdigest()}


@given(
    st.binary(max_size=300),
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF0000WEBP", b"II*\x00"]),
)
@hypothesis_settings(max_examples=40)
def test_no_bytes_crash_a_worker(pool: DecodePool, tail: bytes, head: bytes) -> None:
    try:
        pool.decode(head + tail)
    except ImageError as lost:
        assert lost.reason in (Reason.BROKEN_IMAGE, Reason.TOO_MANY_PIXELS, Reason.TOO_SMALL)


def test_a_worker_that_hangs_loses_one_image() -> None:
    with DecodePool(DECODE) as pool:
        pool.decode(_saved(_gradient(20, 20)))
        process = pool._all[0]._process
        assert process
        threading.Timer(0.0, lambda: os.kill(process.pid, signal.SIGSTOP)).start()
        time.sleep(0.2)
        with pytest.raises(ImageError, match=Reason.DECODE_TIMEOUT):
            pool.decode(_saved(_gradient(20, 20)))
        assert pool.decode(_saved(_gradient(20, 20)))[0][1:3] == (20, 20)


def test_a_worker_that_the_system_kills_loses_no_image() -> None:
    with DecodePool(DECODE) as pool:
        pool.decode(_saved(_gradient(20, 20)))
        process = pool._all[0]._process
        assert process
        os.kill(process.pid, signal.SIGKILL)
        assert pool.decode(_saved(_gradient(20, 20)))[0][1:3] == (20, 20)
        assert pool._all[0]._process is not process


def test_an_image_with_which_workers_die_twice_is_lost() -> None:
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.01):
            with suppress(AttributeError, ProcessLookupError):  # there is none at the moment
                os.kill(pool._all[0]._process.pid, signal.SIGKILL)  # type: ignore[union-attr]

    with DecodePool(DECODE) as pool:
        killing = threading.Thread(target=kill)
        killing.start()
        with pytest.raises(ImageError, match=Reason.DECODE_CRASHED):
            pool.decode(_saved(_gradient(20, 20)))
        ended.set()
        killing.join()
        assert pool.decode(_saved(_gradient(20, 20)))[0][1:3] == (20, 20)


def test_a_worker_inherits_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-1")
    monkeypatch.setenv("KALE_S3__SECRET_ACCESS_KEY", "canary-2")
    with (tmp_path / "canary").open("wb") as secret, DecodePool(DECODE) as pool:
        os.set_inheritable(secret.fileno(), True)
        assert pool.decode(_saved(_gradient(20, 20)))[0][1:3] == (20, 20)
        process = pool._all[0]._process
        assert process
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"canary" not in environment
        opened = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert not [name for name in opened if "canary" in name]


def test_the_memory_of_a_worker_is_limited() -> None:
    with DecodePool(_but(memory_mb=384, seconds=60.0)) as pool, pytest.raises(ImageError, match=Reason.TOO_MANY_PIXELS):
        pool.decode(_saved(Image.new("RGB", (9900, 9900)), "PNG"))


def test_only_a_near_copy_has_a_near_hash() -> None:
    rng = np.random.default_rng(3)
    pictures = [
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).resize((400, 300), Image.Resampling.BICUBIC)
        for _ in range(30)
    ]
    copies = [picture.resize((280, 210)) for picture in pictures]
    hashes = [
        convert(_saved(picture, quality=q), [], DECODE)[0].phash
        for ps, q in ((pictures, 90), (copies, 50))
        for picture in ps
    ]
    marked = near_duplicates(np.array(hashes, dtype=np.int64).view(np.uint64), 3)
    assert not marked[:30].any()
    assert marked[30:].mean() > 0.9


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 3), st.data())
def test_a_hash_that_differs_in_few_bits_is_always_found(hashes: list[int], bits: int, data: st.DataObject) -> None:
    if not hashes:
        return
    chosen = data.draw(st.sampled_from(hashes))
    flips = data.draw(st.sets(st.integers(0, 63), min_size=bits, max_size=bits))
    near = chosen ^ sum(1 << flip for flip in flips)
    assert near_duplicates(np.array([*hashes, near], dtype=np.uint64), bits)[-1]


@given(st.lists(st.integers(0, 8), max_size=60), st.integers(2, 5))
def test_hashes_that_occur_often_are_placeholders(hashes: list[int], count: int) -> None:
    found = placeholders(np.array(hashes, dtype=np.uint64), count)
    assert list(found) == [hashes.count(h) >= count for h in hashes]


def _but(**changed: object) -> Decode:
    return DECODE.model_copy(update=changed)


def _gradient(width: int, height: int) -> Image.Image:
    ramp = Image.linear_gradient("L")
    return Image.merge("RGB", [ramp, ramp.rotate(90), ramp.rotate(180)]).resize((width, height))


def _saved(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return out.getvalue()
