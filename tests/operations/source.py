"""The source of the small lake: numbered pairs, their landing files, a server of their images and of captions."""

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

KEYS = ("2026-11-01", "2026-11-02", "2026-11-03")
NUMBERS = 60
_SAME_URL = 50  # from here on, a pair has the address of the pair 50 below it, and another text
_MISSING = 13  # every pair with a number divisible by this has no image
_BROKEN = 17  # a pair with a number one below a multiple of this has a line that is no JSON, or no address
_SIDE, _BLOCK = 4, 8  # blocks per side of an image, and pixels per side of a block
_FILES = 3
_WORDS = (
    "red", "green", "blue", "white", "black", "brown", "yellow", "pink", "small", "large", "round", "flat", "old",
    "new", "tall", "wide",
)  # fmt: skip
_SCHEMA = pa.schema({"uid": pa.string(), "url": pa.string(), "text": pa.string()})
_sent = count()


def uid(number: int) -> str:
    """Return the uid of a pair."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def url(number: int, port: int) -> str:
    """Return the address of its image."""
    return f"http://127.0.0.1:{port}/{number % _SAME_URL}.jpg"


def text(number: int) -> str:
    """Return its alt-text, of three to six words."""
    return " ".join(["Photo", f"n{number}x{number * 7919 % 1000}", "house", "with", "red", "roof"][: 3 + number % 4])


def has_image(number: int) -> bool:
    """Whether the server has an image for a pair."""
    return number % _SAME_URL % _MISSING != 0


def pattern(number: int) -> tuple[bool, ...]:
    """Return which blocks of its image are white."""
    digest = hashlib.sha256(f"image {number % _SAME_URL}".encode()).digest()
    return tuple(bool(byte & 1) for byte in digest[: _SIDE * _SIDE])


def seen_pattern(jpeg: bytes) -> tuple[bool, ...]:
    """Return which blocks of an image are white."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        grey = opened.convert("L")
    middle = _BLOCK // 2
    return tuple(
        grey.getpixel((x * _BLOCK + middle, y * _BLOCK + middle)) > 127  # type: ignore[operator]
        for y in range(_SIDE) for x in range(_SIDE)
    )  # fmt: skip


def land(landing: Path, key: str, numbers: Sequence[int], port: int) -> None:
    """Replace the landing files of a key, each in one step."""
    folder = landing / key
    folder.mkdir(parents=True, exist_ok=True)
    for file in range(_FILES):
        temporary, some = folder / ".writing", numbers[file::_FILES]
        if file:
            temporary.write_text("".join(f"{_line(n, port)}\n" for n in some))
        else:  # only such files are divided into pieces
            rows = [{"uid": uid(n), "url": None if _is_broken(n) else url(n, port), "text": text(n)} for n in some]
            pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), temporary, row_group_size=2)
        os.replace(temporary, folder / f"{file}.{'jsonl' if file else 'parquet'}")


def _line(number: int, port: int) -> str:
    if _is_broken(number):
        return f'{{"uid": "{uid(number)}", '
    return json.dumps({"uid": uid(number), "url": url(number, port), "text": text(number)})


def _is_broken(number: int) -> bool:
    return number % _BROKEN == _BROKEN - 1


def lines(landing: Path, key: str) -> int:
    """Count the rows that the landing files of a key hold."""
    rows = sum(pq.read_metadata(file).num_rows for file in (landing / key).glob("*.parquet"))
    return rows + sum(len(file.read_text().splitlines()) for file in sorted((landing / key).glob("*.jsonl")))


def lines_of(numbers: Sequence[int]) -> list[int]:
    """Count the rows of each landing file that `land` writes."""
    return [len(numbers[file::_FILES]) for file in range(_FILES)]


def numbers_by_uid(numbers: Iterable[int] = range(NUMBERS)) -> dict[str, int]:
    """Return the number of each uid."""
    return {uid(number): number for number in numbers}


@contextmanager
def image_server() -> Iterator[int]:
    """Serve the images on a port of this machine, and return it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Images)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class _Images(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/").removesuffix(".jpg")
        if not name.isdigit() or not has_image(int(name)):
            self.send_error(404)
            return
        self._send(_jpeg(int(name)), "image/jpeg")

    def do_POST(self) -> None:
        """Answer as a model would: describe the image, or repeat the description that is to be fused."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = {"message": {"content": _answer(asked["messages"])}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 5}
        self._send(json.dumps({"choices": [choice], "usage": usage}).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _answer(messages: Sequence[dict[str, Any]]) -> str:
    content = messages[-1]["content"]
    parts = [{"text": content}] if isinstance(content, str) else content
    for part in parts:
        if image := part.get("image_url"):
            return description(seen_pattern(base64.b64decode(image["url"].partition(",")[2])))
    asked = "".join(part.get("text", "") for part in parts)
    return asked.partition("The description: ")[2].partition("\n")[0]


def description(seen: Sequence[bool]) -> str:
    """Return the caption of an image with these blocks."""
    words = [_WORDS[int("".join("01"[white] for white in seen[row : row + _SIDE]), 2)] for row in range(0, 16, _SIDE)]
    return f"A picture of a {words[0]} house, a {words[1]} tree, a {words[2]} boat and a {words[3]} cloud."


def _jpeg(number: int) -> bytes:
    # Sites send other bytes each time: what was fetched twice must not be mixed.
    image = Image.new("L", (_SIDE * _BLOCK, _SIDE * _BLOCK))
    for place, white in enumerate(pattern(number)):
        y, x = divmod(place, _SIDE)
        image.paste(255 if white else 0, (x * _BLOCK, y * _BLOCK, (x + 1) * _BLOCK, (y + 1) * _BLOCK))
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=75 + next(_sent) % 20)
    return sink.getvalue()
