"""What a main process starts ends with it, also when it is killed: the decoders of images, Spark, and an engine."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.services.server import wait_until

_DECODERS = """
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from PIL import Image
from kale_tasks.images.decode_pool import DecodePool
from tests.lakes import settings_of
sink = BytesIO()
Image.new("RGB", (64, 64)).save(sink, "PNG")
pool = DecodePool(settings_of(["images.decode.workers=2"]).images.decode)
with ThreadPoolExecutor(2) as threads:
    list(threads.map(pool.decode, [sink.getvalue()] * 8))
"""
_SPARK = """
from kale_tasks.spark import open_session
from tests.lakes import settings_of
session = open_session("orphans", settings_of(["ingest.spark.master=local[1]"]).ingest.spark, {})
session.sparkContext.parallelize(range(2), 2).map(lambda n: n + 1).count()
"""
# The child of the engine vllm, with a program in its place that never ends and has a child of its own.
_ENGINE = """
import subprocess
from kale_tasks.process import allowed_environment, start_process
process = start_process(["bash", "-c", "sleep 600 & sleep 601"], environment=allowed_environment(),
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
"""
_THEN_WAIT = """
print("ready", flush=True)
import time
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("program", "least"),
    [
        pytest.param(_DECODERS, 1, id="decoders"),
        pytest.param(_SPARK, 2, id="spark", marks=pytest.mark.nightly),
        pytest.param(_ENGINE, 2, id="engine"),
    ],
)
def test_nothing_that_a_main_process_started_survives_it(program: str, least: int) -> None:
    words = [sys.executable, "-c", program + _THEN_WAIT]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parents[1]
    ) as main:
        assert main.stdout
        assert any(line == "ready\n" for line in main.stdout)
        try:
            wait_until(lambda: len(psutil.Process(main.pid).children(recursive=True)) >= least, "its processes")
            started = psutil.Process(main.pid).children(recursive=True)
        finally:
            main.kill()
    wait_until(lambda: not any(map(_runs, started)), "the end of what it had started", 60)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
