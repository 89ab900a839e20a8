"""More answers of hostile or careless servers, as data: how each must end, its status, its headers and its body."""

import struct
import zlib
from typing import NamedTuple

Headers = tuple[tuple[str, str], ...]


class Form(NamedTuple):
    """One answer. Without a body it is an honest picture; `raw` is sent in place of everything."""

    right: tuple[str, ...]
    headers: Headers = ()
    status: str = "200 OK"
    body: bytes | None = None
    raw: bytes = b""


def _tag(right: str, *values: str) -> Form:
    return Form((right,), tuple(("X-Robots-Tag", value) for value in values))


def _tdm(right: str, *values: str) -> Form:
    return Form((right,), tuple(("TDM-Reservation", value) for value in values))


def _to(right: str, *places: str) -> Form:
    return Form((right,), tuple(("Location", place) for place in places), "302 Found", b"")


def _status(right: str, status: str, **headers: str) -> Form:
    return Form((right,), tuple((name.replace("_", "-"), value) for name, value in headers.items()), status)


def _body(right: str, body: bytes, **headers: str) -> Form:
    return Form((right,), tuple((name.replace("_", "-"), value) for name, value in headers.items()), body=body)


def _raw(right: str, head: bytes, body: bytes = b"") -> Form:
    return Form((right,), raw=b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


_ROW = zlib.compress(bytes(64 * (1 + 64 * 3)))
_HEAD = _chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
_END = _chunk(b"IEND", b"")
_PNG = b"\x89PNG\r\n\x1a\n"
ZEROS = zlib.compress(bytes(200_000_000), 9)  # a bomb
_PROFILE = _chunk(b"iCCP", b"x\0\0" + ZEROS)
_WRONG_DATA = _chunk(b"IDAT", _ROW[:4] + b"\xff" * 20)
_TIFF_LOOP = b"II*\x00\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)

FORMS: dict[str, Form] = {
    # X-Robots-Tag beside values, dates and other agents
    "noai between values": _tag("noai", "noindex, max-image-preview:none, noai"),
    "noimageai after a value": _tag("noai", "max-snippet:20, noimageai"),
    "noai after an old date": _tag("noai", "unavailable_after: 25 Jun 2030 15:00:00 PST, noai"),
    "noai for us after another": _tag("noai", "googlebot: noindex, kale: noai"),
    "noai for us before another": _tag("noai", "kale: noai, googlebot: all"),
    "noai with semicolons": _tag("noai", "NOINDEX;NOAI"),
    "noai in a second header": _tag("noai", "otherbot: all", "noai"),
    "noai and more for another": _tag("ok", "otherbot: noindex, noai"),
    "noindex alone": _tag("ok", "noindex"),
    "noimageindex alone": _tag("ok", "noimageindex, nofollow"),
    "a word that begins with noai": _tag("ok", "noairship"),
    "a tag without a value": _tag("ok", ""),
    "tdm reserved among values": _tdm("tdm_reserved", "0, 1"),
    "tdm reserved in a second header": _tdm("tdm_reserved", "0", "1"),
    "tdm not reserved": _tdm("ok", "0"),
    # redirects
    "redirect to a picture": _to("ok", "/honest.jpg"),
    "redirect to an opt-out": _to("noai", "/noai.jpg"),
    "redirect to a mail port": _to("private_address", "http://127.0.0.1:25/a.jpg"),
    "redirect to a whole number": _to("private_address", "http://2130706434/a.jpg"),
    "redirect with a password": _to("bad_url", "http://user:word@127.0.0.1/a.jpg"),
    "redirect to javascript": _to("bad_url", "javascript:alert(1)"),
    "redirect to data": _to("bad_url", "data:image/png;base64,AAAA"),
    "redirect to an empty place": _to("too_many_redirects", ""),
    "redirect without a place": _to("rejected"),
    "redirect in HTML": _body("not_an_image", b'<meta http-equiv="refresh" content="0; url=http://127.0.0.2/">'),
    # status
    "part of a picture": _status("rejected", "206 Partial Content"),
    "no content": Form(("rejected",), status="204 No Content", body=b""),
    "not modified": Form(("rejected",), status="304 Not Modified", body=b""),
    "many choices": _status("rejected", "300 Multiple Choices"),
    "payment required": _status("rejected", "402 Payment Required"),
    "legal reasons": _status("rejected", "451 Unavailable For Legal Reasons"),
    "gone": _status("not_found", "410 Gone"),
    "a status beyond all": _status("server_error", "999 No"),
    "come back on no day": _status("server_error", "503 Down", Retry_After="Fri, 99 Foo 2030 00:00:00 GMT"),
    # the message
    "two lengths": _raw("bad_response", b"Content-Length: 3\r\nContent-Length: 4", b"abcd"),
    "a negative length": _raw("bad_response", b"Content-Length: -1"),
    "a length and chunks": _raw("bad_response", b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    "a header of 9 kB": _raw("bad_response", b"X: " + b"a" * 9000),
    "a header without a colon": _raw("bad_response", b"no colon"),
    "not deflated": _body("bad_response", b"plain text", Content_Encoding="deflate"),
    # the picture
    "svg without a declaration": _body("unsupported_type", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "an icon": _body("unsupported_type", b"\x00\x00\x01\x00\x01\x00" + bytes(40)),
    "jpeg xl": _body("unsupported_type", b"\xff\x0a" + bytes(80)),
    "png of wrong data": _body("broken_image", _PNG + _HEAD + _WRONG_DATA + _END),
    "png without pixels": _body("broken_image", _PNG + _HEAD + _END),
    "tiff that refers to itself": _body("broken_image", _TIFF_LOOP),
    "webp of nothing": _body("broken_image", b"RIFF\x04\0\0\0WEBP"),
    "profile bomb in png": Form(
        ("ok", "broken_image", "too_many_pixels"), body=_PNG + _HEAD + _PROFILE + _chunk(b"IDAT", _ROW) + _END
    ),
}
