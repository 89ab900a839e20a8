"""A decode process: reads images from stdin, writes results to stdout, with limits on memory and files."""

import json
import resource
import struct
import sys
from typing import Any, BinaryIO

from PIL import Image

from kale_tasks.images.decode import convert, inspect
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.settings.images import Decode

_FRAME = struct.Struct("<II")  # lengths of the JSON and of the bytes that follow


def send_frame(pipe: BinaryIO, message: Any, data: bytes = b"") -> None:
    """Write a JSON message, followed by raw bytes."""
    text = json.dumps(message).encode()
    pipe.write(b"".join((_FRAME.pack(len(text), len(data)), text, data)))
    pipe.flush()


def receive_frame(pipe: BinaryIO) -> tuple[Any, bytes] | None:
    """Read a JSON message and its bytes; None when the other process has ended."""
    head = pipe.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    text_length, data_length = _FRAME.unpack(head)
    text, data = pipe.read(text_length), pipe.read(data_length)
    return (json.loads(text), data) if len(text) == text_length and len(data) == data_length else None


def main() -> None:
    """Decode images until stdin ends; the `images.decode` settings are the first argument, as JSON."""
    settings = Decode.model_validate_json(sys.argv[1])
    memory = settings.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    send_frame(sys.stdout.buffer, "ready")
    while (frame := receive_frame(sys.stdin.buffer)) is not None:
        send_frame(sys.stdout.buffer, *_decode(*frame, settings))


def _decode(request: Any, raw: bytes, settings: Decode) -> tuple[Any, bytes]:
    try:
        if request["keep"]:
            return {"info": inspect(raw, settings)}, b""
        info, stored = convert(raw, request["boxes"], settings)
        return {"info": info}, stored
    except ImageError as error:
        return {"reason": error.reason, "detail": error.detail}, b""
    except (Image.DecompressionBombError, MemoryError) as error:
        return {"reason": Reason.TOO_MANY_PIXELS, "detail": _described(error)}, b""
    except Exception as error:  # a decoder may raise anything on malformed input; only this image is lost
        return {"reason": Reason.BROKEN_IMAGE, "detail": _described(error)}, b""


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:120]


if __name__ == "__main__":
    main()
