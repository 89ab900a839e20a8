"""Blurring faces, from boxes of any form."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from kale_tasks.images.decode import convert
from kale_tasks.images.decode_pool import DecodePool
from kale_tasks.images.faces import face_areas
from kale_tasks.settings import load
from kale_tasks.settings.images import Decode
from tests.experts.photographs import photographs

DECODE = load([], environ={}).settings.images.decode
_noise = io.BytesIO()
Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(_noise, "PNG")
NOISE = _noise.getvalue()


def test_faces_are_blurred_and_nothing_else_is() -> None:
    checked, stored = convert(NOISE, [[0.1, 0.1, 0.4, 0.4]], DECODE)
    pixels = np.asarray(Image.open(io.BytesIO(stored)).convert("L"), float)
    assert pixels[30:70, 30:70].std() < 12
    assert pixels[120:, 120:].std() > 40
    assert checked.flags == ["faces_blurred"]
    kept = np.asarray(Image.open(io.BytesIO(convert(NOISE, [[0.1, 0.1, 0.4, 0.4]], _but(faces="off"))[1])).convert("L"))
    assert kept[30:70, 30:70].std() > 40


@pytest.mark.parametrize(
    ("boxes", "xywh"),
    [
        ([[0.2, 0.2, 0.5, 0.5]], False),
        ([[40, 40, 100, 100]], False),  # pixels of the received image
        ([[0.2, 0.2, 0.3, 0.3]], True),
        ([[40, 40, 60, 60]], True),
        ([[0.5, 0.5, 0.2, 0.2]], False),  # impossible as corners in this order
        ([[0.2, 0.2, 0.5, 0.5], [0.6, 0.6, 0.2, 0.2]], False),
    ],
)
def test_a_face_is_blurred_whatever_the_form_of_its_box(boxes: list[list[float]], xywh: bool) -> None:
    info, stored = convert(NOISE, boxes, _but(face_boxes="xywh" if xywh else "xyxy"))
    pixels = np.asarray(Image.open(io.BytesIO(stored)).convert("L"), float)
    for box in boxes:
        left, top = (int(edge if edge > 2 else edge * 200) for edge in box[:2])
        right, bottom = (left + 30, top + 30) if xywh or box[2] <= box[0] else (left + 60, top + 60)
        area = pixels[min(top, bottom) + 2 : bottom - 2, left + 2 : right - 2]
        assert area.std() < 14
    assert pixels[:15, :15].std() > 40
    assert "faces_blurred" in info.flags


@pytest.mark.parametrize(
    "boxes",
    [
        [[]],  # what ingest writes for boxes that it cannot read
        [[0.1, 0.1, 0.2]],
        [[float("nan"), 0.1, 0.2, 0.2]],
        [[0, 0, 0, 0]],
        [[4000, 3000, 4100, 3100]],  # pixels of a larger rendition
        [[0.1, 0.1, 0.2, 0.2], [None, 0.1, 0.2, 0.2]],
        [[-0.9, -0.9, -0.5, -0.5]],
    ],
)
def test_the_whole_image_is_blurred_if_a_box_could_be_anywhere(boxes: list[list[float]]) -> None:
    info, stored = convert(NOISE, boxes, DECODE)
    assert np.asarray(Image.open(io.BytesIO(stored)).convert("L"), float).std() < 12
    assert info.flags == ["faces_blurred"]


@given(st.lists(st.lists(st.floats(width=32), max_size=5), min_size=1, max_size=3))
@hypothesis_settings(max_examples=200)
def test_an_image_with_boxes_always_has_an_area_to_blur(boxes: list[list[float]]) -> None:
    areas = face_areas(boxes, (640, 480))
    assert areas
    assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for x0, y0, x1, y1 in areas)


def _but(**changed: object) -> Decode:
    return DECODE.model_copy(update=changed)


@pytest.mark.server
def test_faces_are_found_where_the_source_gives_no_boxes() -> None:
    stored = photographs()["explore_world_music/mexico.webp"]
    detect, boxes_only = _but(faces="detect"), _but(faces="given")
    info, found = convert(stored, (), detect)
    plain_info, plain = convert(stored, (), boxes_only)
    assert (info.flags, plain_info.flags) == (["faces_blurred"], [])
    blurred, sharp = (np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float) for data in (found, plain))
    change = np.abs(blurred - sharp)
    assert blurred.shape == sharp.shape
    assert change[240:290, 620:680].mean() > 8  # the nearest face
    assert change[:60, :].mean() < 2
    boxed, _ = convert(stored, [[0.0, 0.0, 0.1, 0.1]], detect)
    assert boxed.flags == ["faces_blurred"]
    koala = photographs()["explore_world_animals/koala.webp"]
    assert convert(koala, (), detect)[1] == convert(koala, (), boxes_only)[1]


@pytest.mark.server
def test_a_decode_process_finds_faces_too() -> None:
    with DecodePool(_but(faces="detect").model_copy(update={"workers": 1})) as pool:
        info, _ = pool.decode(photographs()["explore_world_music/ireland.webp"])
    assert info.flags == ["faces_blurred"]
