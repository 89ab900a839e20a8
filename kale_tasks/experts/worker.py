"""The process of an expert or embedder: reads rows from stdin and writes what it finds to stdout; see `host`."""

import json
import os
import resource
import sys
from typing import Any, BinaryIO

from kale_tasks.errors import KaleError
from kale_tasks.experts.base import Embedder, Expert, ExpertRow, checked, open_embedder, open_expert
from kale_tasks.frames import receive_frame, send_frame
from kale_tasks.garbage import collect_rarely
from kale_tasks.imaging import BrokenImage, decode_rgb


def main() -> None:
    """Answer until stdin ends. What is printed while a model loads or runs goes to stderr."""
    collect_rarely()
    arguments = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    opened = open_embedder if arguments["kind"] == "embedder" else open_expert
    try:
        part: Expert | Embedder = opened(arguments["name"], arguments["options"])
        part.start()
    except KaleError as error:
        send_frame(out, {"error": str(error)})
        return
    _limit(arguments["memory_mb"] << 20)
    send_frame(out, {})
    _answer(part, out)


def _answer(part: Expert | Embedder, out: BinaryIO) -> None:
    while (frame := receive_frame(sys.stdin.buffer)) is not None:
        rows, broken = _decoded(*frame, part.reads_images)
        if isinstance(part, Embedder):
            vectors = part.vectors(rows).astype("float32") if rows else b""
            uids = [row.uid for row in rows]
            send_frame(
                out, {"broken": broken, "uids": uids}, vectors if isinstance(vectors, bytes) else vectors.tobytes()
            )
        else:
            found = checked(part, rows).to_pylist() if rows else []
            send_frame(out, {"broken": broken, "values": found})


def _decoded(sent: Any, data: bytes, needed: bool) -> tuple[list[ExpertRow], list[str]]:
    """Return the rows with their images, and the uids of those whose image cannot be decoded."""
    rows, broken, at = [], [], 0
    for row in sent:
        length = max(row["bytes"], 0)
        image, at = data[at : at + length], at + length
        try:
            rows.append(ExpertRow(row["uid"], row["alt"], decode_rgb(image) if needed else None))
        except BrokenImage:
            broken.append(row["uid"])
    return rows, broken


def held_bytes() -> int:
    """The address space of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _limit(memory: int) -> None:
    """Limit memory to so much more than the loaded model has, and forbid files."""
    held = held_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
