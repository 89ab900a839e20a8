"""datatrove's inference runner against the server of bench/caption.py; runs in .venv-bench, prints its seconds."""

import json
import sys
import tempfile
import time
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
from loguru import logger


def main(url: str, count: int, in_flight: int, messages: list[dict[str, Any]]) -> None:
    """One document for each request, written as JSON lines."""
    logger.remove()

    first: list[tuple[float, float]] = []  # when the first request went: to find the server takes the runner seconds

    async def ask(document: Document, generate: Any) -> Any:
        first or first.append((time.perf_counter(), time.process_time()))
        return (await generate({"messages": messages, "seed": int(document.id)})).text

    config = InferenceConfig(
        server_type="endpoint",
        model_name_or_path="tiny",
        endpoint_url=url,
        default_generation_params={"max_tokens": 320, "temperature": 0.0, "top_p": 1.0},
        max_concurrent_generations=in_flight,
        metric_interval=10_000,
    )
    with tempfile.TemporaryDirectory() as folder:
        runner = InferenceRunner(ask, config, JsonlWriter(folder, compression=None))
        documents = (Document(text="", id=str(number)) for number in range(count))
        runner.run(documents)
        wall, cpu = first[0]
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
