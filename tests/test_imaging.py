"""Opening images of unknown origin."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kale_tasks.imaging import BrokenImage, decode_rgb, fit, image_type, open_image


def saved(image: Image.Image, kind: str) -> bytes:
    """Encode an image."""
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_the_type_is_read_from_the_first_bytes_and_only_that_decoder_is_used(kind: str) -> None:
    data = saved(Image.new("RGB", (20, 10), "red"), kind)
    assert image_type(data) == f"image/{kind.lower()}"
    with open_image(data) as image:
        assert image.format == kind


def test_formats_that_the_images_step_does_not_store_are_not_opened() -> None:
    with pytest.raises(BrokenImage, match="no supported image type"):
        decode_rgb(saved(Image.new("RGB", (20, 10)), "PPM"))


def test_an_image_with_more_pixels_than_the_cap_is_refused() -> None:
    data = saved(Image.new("L", (100, 100)), "PNG")
    with open_image(data, max_pixels=10_000) as image:
        assert image.size == (100, 100)
    with pytest.raises(Image.DecompressionBombError), open_image(data, max_pixels=9_000):
        pass


def test_an_image_is_scaled_only_if_it_is_too_large() -> None:
    data = saved(Image.new("RGB", (400, 100)), "PNG")
    assert fit(data, 400) == fit(data, 0) == data
    assert decode_rgb(fit(data, 200)).size == (200, 50)


@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP"]), st.binary(max_size=99))
def test_malformed_bytes_raise_broken_image_only(head: bytes, tail: bytes) -> None:
    with pytest.raises(BrokenImage):
        decode_rgb(head + tail)


def test_an_image_that_must_be_shown_otherwise_is_not_passed_on_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(out, "JPEG", exif=exif)
    assert decode_rgb(fit(out.getvalue(), 0)).size == decode_rgb(out.getvalue()).size == (20, 40)
    clear = saved(Image.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG")
    assert decode_rgb(fit(clear, 0)).getpixel((5, 5)) == (255, 255, 255)


def test_the_kind_of_an_iso_media_file_may_be_given_by_a_later_brand() -> None:
    avif = saved(Image.new("RGB", (20, 10), "red"), "AVIF")
    at = avif.index(b"avif", 16)
    assert at < 40
    other = avif[:8] + b"mif1" + avif[12:]
    assert image_type(other) == "image/avif"
    assert decode_rgb(other).size == (20, 10)
