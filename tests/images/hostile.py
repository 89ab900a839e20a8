"""A hostile web server, and the reason in which each of its tricks must end."""

import asyncio
import gzip
import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from PIL import Image

from tests.images.hostile_forms import FORMS, ZEROS, Form

Writer = asyncio.StreamWriter
Answer = Callable[[Writer], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One trick: its name, its URL, and the accepted reasons (`ok`: the image is stored)."""

    name: str
    url: str
    right: tuple[str, ...]


@dataclass
class Hostile:
    """The server on 127.0.0.1, and an internal service on 127.0.0.2 that must never be reached."""

    port: int = 0
    inside_port: int = 0
    inside_hits: list[str] = field(default_factory=list)

    def cases(self) -> list[Case]:
        """Return all tricks."""
        return [*self._inside(), *(Case(name, self.url(name), right) for name, (right, _) in ANSWERS.items())]

    def url(self, name: str) -> str:
        """Return the URL of a trick of this server."""
        return f"http://127.0.0.1:{self.port}/{slug(name)}.jpg"

    def _inside(self) -> list[Case]:
        def at(name: str, host: str, right: str = "private_address", scheme: str = "http", tail: str = "") -> Case:
            return Case(name, f"{scheme}://{host}:{self.inside_port}/{slug(name)}.jpg{tail}", (right,))

        return [
            at("loopback", "127.0.0.2"),
            at("whole number", "2130706434"),
            at("hex", "0x7f000002"),
            at("octal", "0177.0.0.2"),
            at("short form", "127.2"),
            at("trailing dot", "127.0.0.2."),
            at("full-width digits", "\uff11\uff12\uff17.\uff10.\uff10.\uff12"),
            at("IPv6 loopback", "[::1]"),
            at("IPv4 in IPv6", "[::ffff:127.0.0.2]"),
            at("NAT64", "[64:ff9b::7f00:2]"),
            at("6to4", "[2002:7f00:2::]"),
            at("unspecified", "0.0.0.0"),
            Case("cloud metadata", "http://169.254.169.254/latest/meta-data/", ("private_address",)),
            at("user part", "example.org@127.0.0.2", "bad_url"),
            at("backslash", "127.0.0.2", "bad_url", tail="\\@example.org/"),
            Case("file", "file:///etc/hostname", ("bad_url",)),
            at("gopher", "127.0.0.2", "bad_url", "gopher"),
            Case("line break", f"http://127.0.0.1:{self.port}/a\r\nHost: inside", ("bad_url",)),
            Case("mail port", "http://127.0.0.1:25/a.jpg", ("private_address",)),
        ]


def slug(name: str) -> str:
    """Return the name of a case as it appears in URLs."""
    return name.replace(" ", "-")


@contextmanager
def hostile_server() -> Iterator[Hostile]:
    """Run both servers in a thread."""
    hostile = Hostile()
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            name = unquote(head.split(" ")[1]).split("?")[0].strip("/").removesuffix(".jpg")
            if writer.get_extra_info("sockname")[1] == hostile.inside_port:
                hostile.inside_hits.append(name.partition(".jpg")[0])
            _, answer = _SERVED.get(name, ((), _status(404)))
            if name == "redirect-inside":
                answer = _redirect(f"http://127.0.0.2:{hostile.inside_port}/redirect-inside.jpg")
            await answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def start() -> None:
        for host, name in (("127.0.0.1", "port"), ("127.0.0.2", "inside_port")):
            server = await asyncio.start_server(serve, host, 0)
            setattr(hostile, name, server.sockets[0].getsockname()[1])

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield hostile
    finally:
        asyncio.run_coroutine_threadsafe(cancel_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def cancel_others() -> None:
    """Cancel all other tasks of the event loop."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def picture(width: int = 300, height: int = 200, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """Encode a small, valid image."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(out, kind)
    return out.getvalue()


def _send(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    async def answer(writer: Writer) -> None:
        fields = {"Content_Type": "image/jpeg", "Content_Length": str(len(body)), "Connection": "close"} | headers
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
        writer.write("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body)

    return answer


def _raw(data: bytes) -> Answer:
    async def answer(writer: Writer) -> None:
        writer.write(data)

    return answer


def _status(code: int) -> Answer:
    return _send(b"", f"{code} No")


def _redirect(to: str) -> Answer:
    return _send(b"", "302 Found", Location=to)


def _repeated(piece: bytes, pause: float, head: str) -> Answer:
    async def answer(writer: Writer) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n{head}\r\n\r\n".encode())
        for _ in range(1 << 16):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


async def _silence(writer: Writer) -> None:
    await asyncio.sleep(30)


def _png(width: int, height: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *more, (b"IDAT", data), (b"IEND", b"")]
    pieces = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def _tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, height), (279, 4, 16)]  # fmt: skip
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\x00" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", len(tags)) + fields + bytes(4)


def _webp(width: int, height: int) -> bytes:
    bits = struct.pack("<I", (width - 1) | (height - 1) << 14)
    chunk = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + bits + b"\x00"
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _huge_jpeg() -> bytes:
    jpeg = picture()
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + b"\xff\xff\xff\xff" + jpeg[at + 4 :]


def _many_frames() -> bytes:
    out = io.BytesIO()
    frames = [Image.new("P", (64, 64), i % 256) for i in range(2000)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def _with_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("payload.exe", b"MZ evil payload")
    return picture() + out.getvalue()


def _text_bomb() -> bytes:
    return _png(64, 64, zlib.compress(bytes(64 * (1 + 64 * 3))), (b"zTXt", b"comment\0\0" + ZEROS))


_GIF_SIDES = b"\xff\xff\xff\xff"
_GIF_BOMB = (
    b"GIF89a" + _GIF_SIDES + bytes([0x80, *bytes(8), 0x2C, *bytes(4)]) + _GIF_SIDES + b"\x00\x02\x02\x44\x01\x00\x3b"
)
_MB = b"\xff\xd8\xff" + bytes((1 << 20) - 3)
_SVG = b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg"/>'
_MANY, _BROKEN, _NONE = ("too_many_pixels",), ("broken_image",), ("not_an_image",)

# Built at import, so that every process gets the same bytes.
ANSWERS: dict[str, tuple[tuple[str, ...], Answer]] = {
    "honest": (("ok",), _send(picture())),
    "redirect inside": (("private_address",), _status(404)),
    "redirect to metadata": (("private_address",), _redirect("http://169.254.169.254/latest/")),
    "redirect to file": (("bad_url",), _redirect("file:///etc/hostname")),
    "redirect nowhere": (("bad_response",), _redirect("http://[]@")),
    "redirect loop": (("too_many_redirects",), _redirect("/redirect-loop.jpg")),
    "png bomb": (_MANY, _send(_png(50_000, 50_000, zlib.compress(bytes(1 << 20))))),
    "gif bomb": (_MANY, _send(_GIF_BOMB)),
    "webp bomb": (_MANY, _send(_webp(16384, 16384))),
    "tiff bomb": (_MANY, _send(_tiff(1_000_000, 1_000_000))),
    "jpeg bomb": (_MANY, _send(_huge_jpeg())),
    "text bomb in png": (("ok", "broken_image", "too_many_pixels"), _send(_text_bomb())),
    "gzip bomb": (("too_large", "bad_response"), _send(gzip.compress(_MB * 200), Content_Encoding="gzip")),
    "svg with entities": (("unsupported_type",), _send(_SVG, Content_Type="image/svg+xml")),
    "truncated jpeg": (_BROKEN, _send(picture()[:1500])),
    "truncated png": (_BROKEN, _send(picture(kind="PNG")[:150])),
    "gif that is javascript": (_BROKEN, _send(b"GIF89a=1;alert(document.cookie)//" + bytes(40))),
    "jpeg that is a zip": (("ok",), _send(_with_zip())),
    "many frames": (("ok",), _send(_many_frames())),
    "0 byte": (("empty",), _send(b"")),
    "html as jpeg": (_NONE, _send(b"<!doctype html><title>gone</title>")),
    "pdf as jpeg": (_NONE, _send(b"%PDF-1.7\n1 0 obj <<>> endobj")),
    "1x1": (("too_small",), _send(picture(1, 1, "GIF", "L"))),
    "1x20000": (("too_small",), _send(picture(1, 20000, "PNG", "L"))),
    "slow drip": (("timed_out",), _repeated(b"\xff", 0.5, "Content-Length: 30000")),
    "silence": (("timed_out",), _silence),
    "endless body": (("too_large",), _repeated(_MB, 0, "Connection: close")),
    "huge length": (("too_large",), _repeated(_MB, 0, "Content-Length: 100000000000")),
    "bad chunks": (("bad_response",), _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\nxx\r\n")),
    "cut body": (("cut_short",), _send(picture()[:1500], Content_Length="99999")),
    "not HTTP": (("bad_response",), _raw(b"SSH-2.0-OpenSSH_9.2\r\n")),
    "endless head": (("bad_response",), _raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 500_000 + b"\r\n\r\n")),
    "closed at once": (("connect_failed",), _raw(b"")),
    "noai": (("noai",), _send(picture(), X_Robots_Tag="noai")),
    "noimageai for us": (("noai",), _send(picture(), X_Robots_Tag="kale: noimageai, nofollow")),
    "noai for another": (("ok",), _send(picture(), X_Robots_Tag="otherbot: noai")),
    "noai beside a value": (("noai",), _send(picture(), X_Robots_Tag="noai, max-image-preview:large")),
    "noai after a date": (("noai",), _send(picture(), X_Robots_Tag="unavailable_after: 2030-06-25T15:00:00, noai")),
    "noml": (("noai",), _send(picture(), X_Robots_Tag="noindex, NoML")),
    "tdm reserved": (("tdm_reserved",), _send(picture(), TDM_Reservation="1")),
}  # fmt: skip


def _formed(form: Form) -> Answer:
    body = picture() if form.body is None else form.body
    usual = (("Content-Type", "image/jpeg"), ("Content-Length", str(len(body))), ("Connection", "close"))
    lines = [f"{name}: {value}" for name, value in (*usual, *form.headers)]
    return _raw(form.raw or "\r\n".join([f"HTTP/1.1 {form.status}", *lines, "", ""]).encode() + body)


ANSWERS |= {name: (form.right, _formed(form)) for name, form in FORMS.items()}
_SERVED = {slug(name): answer for name, answer in ANSWERS.items()}
