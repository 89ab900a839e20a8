"""Messages between a process and the workers that it starts: JSON with raw bytes behind it, over pipes."""

import json
import struct
from typing import Any, BinaryIO

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
