"""A decode process: reads images from stdin, writes results to stdout, with limits on memory and files."""

import json
import resource
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from kale_tasks.frames import receive_frame, send_frame
from kale_tasks.images.decode import convert, inspect
from kale_tasks.images.decode_limits import limits
from kale_tasks.images.reasons import ImageError, Reason

if TYPE_CHECKING:
    from kale_tasks.settings.images import Decode  # takes longer to import than all the rest


def main() -> None:
    """Decode images until stdin ends; the `images.decode` settings are the first argument, as JSON."""
    settings = cast("Decode", SimpleNamespace(**json.loads(sys.argv[1])))  # as the pool has validated them
    memory = settings.memory_mb << 20
    if settings.faces == "detect":
        from kale_tasks.experts.faces import face_detector
        from kale_tasks.experts.worker import held_bytes

        face_detector()
        memory += held_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    send_frame(sys.stdout.buffer, "ready")
    while (frame := receive_frame(sys.stdin.buffer)) is not None:
        send_frame(sys.stdout.buffer, *_decode(*frame, settings))


def _decode(request: Any, raw: bytes, settings: "Decode") -> tuple[Any, bytes]:
    try:
        if request["keep"]:
            return {"info": inspect(raw, settings)}, b""
        info, stored = convert(raw, request["boxes"], settings)
        return {"info": info}, stored
    except ImageError as error:
        return {"reason": error.reason, "detail": error.detail}, b""
    except Image.DecompressionBombError as error:
        return {"reason": Reason.TOO_MANY_PIXELS, "detail": _described(error)}, b""
    except MemoryError:
        return {"reason": Reason.TOO_MANY_PIXELS, "detail": f"MemoryError: {limits(settings)}"}, b""
    except Exception as error:  # a decoder may raise anything on malformed input; only this image is lost
        return {"reason": Reason.BROKEN_IMAGE, "detail": _described(error)}, b""


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:120]


if __name__ == "__main__":
    main()
