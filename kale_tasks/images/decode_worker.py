"""A decoding process with limits: reads images from stdin, answers on stdout, trusts none."""

import json
import resource
import struct
import sys
from typing import Any, BinaryIO

from PIL import Image

from kale_tasks.images.decode import check, convert
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.settings.images import Decode

FRAME = struct.Struct("<II")  # lengths of the JSON and of the bytes that follow


def send(pipe: BinaryIO, told: Any, data: bytes = b"") -> None:
    """Write one frame."""
    text = json.dumps(told).encode()
    pipe.write(b"".join((FRAME.pack(len(text), len(data)), text, data)))
    pipe.flush()


def receive(pipe: BinaryIO) -> tuple[Any, bytes] | None:
    """Read one frame; None when the other end is gone."""
    head = pipe.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    text, data = FRAME.unpack(head)
    told, body = pipe.read(text), pipe.read(data)
    return (json.loads(told), body) if len(told) == text and len(body) == data else None


def main() -> None:
    """Serve until stdin ends."""
    settings = Decode.model_validate_json(sys.argv[1])
    memory = settings.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    send(sys.stdout.buffer, "ready")
    while (frame := receive(sys.stdin.buffer)) is not None:
        send(sys.stdout.buffer, *_answer(*frame, settings))


def _answer(told: Any, raw: bytes, settings: Decode) -> tuple[Any, bytes]:
    try:
        if told["keep"]:
            return {"checked": check(raw, settings)}, b""
        checked, stored = convert(raw, told["boxes"], settings)
        return {"checked": checked}, stored
    except Lost as lost:
        return {"lost": lost.reason, "detail": lost.detail}, b""
    except (Image.DecompressionBombError, MemoryError) as error:
        return {"lost": Reason.TOO_MANY_PIXELS, "detail": _said(error)}, b""
    except Exception as error:  # a decoder fed by strangers may raise anything: it costs this one image
        return {"lost": Reason.BROKEN_IMAGE, "detail": _said(error)}, b""


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:120]


if __name__ == "__main__":
    main()
