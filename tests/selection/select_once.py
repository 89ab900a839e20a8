"""Selects 10 % of stored vectors once, and says what that took: `python -m tests.selection.select_once`."""

import json
import resource
import sys
import time

import numpy as np

from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.runner.meter import peak_mb
from kale_tasks.selection.choose import COPY, Wanted, choose
from kale_tasks.selection.engine import open_engine
from kale_tasks.selection.vectors import Vectors, product
from tests.lakes import settings_of
from tests.selection.points import known

if __name__ == "__main__":
    folder, files, name = json.loads(sys.stdin.read())
    rows = sum(count for _, count in files)
    vectors = Vectors(FolderStorage(folder), tuple((path, count) for path, count in files))
    began = time.process_time(), time.perf_counter()
    with open_engine(settings_of([f"ingest.engine={name}", "ingest.memory=1GB"]).ingest, rows) as engine:
        wanted = Wanted(product(0.9), copies="drop", share=0.1)
        found = choose(engine, vectors, known(rows), wanted, np.zeros((0, 0), np.float32))
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({
        "copies": [at for at, rule in enumerate(found.rules) if rule == COPY],
        "kept": [at for at, rule in enumerate(found.rules) if not rule],
        "cover": found.cover,
        "cpu_seconds": round(time.process_time() - began[0] + of_children.ru_utime, 1),
        "seconds": round(time.perf_counter() - began[1], 1),
        "peak_mb": round(peak_mb()),
    }))  # fmt: skip
