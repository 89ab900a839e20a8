"""How vLLM's worker hands requests over: on GPUs as soon as each is prepared, on CPUs as many as there are places."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.engines import vllm_worker
from kale_tasks.engines.vllm import describe_model
from kale_tasks.engines.vllm_process import vllm_environment
from tests.engines import batch_probe
from tests.engines.families import model_of, requests_of
from tests.engines.test_engines import VLLM
from tests.lakes import settings_of

PLACES = 2


@pytest.mark.nightly
def test_requests_are_prepared_ahead_on_gpus_and_in_full_batches_on_cpus(tmp_path: Path) -> None:
    model = model_of("qwen2", tmp_path)
    settings = settings_of([f"caption.vllm={{max_num_seqs: {PLACES}}}"]).caption
    asked: list[dict[str, Any]] = [
        {"id": one.id, "messages": one.messages, "temperature": 0.0, "seed": 0, "image": ""}
        for one in requests_of("qwen2")
    ]
    given = {
        "worker": vllm_worker.__file__,
        "model": describe_model(settings, model.task, str(tmp_path)),
        "requests": [{**asked[0], "id": 90, "image": "no image"}, *asked],
    }
    environment = {**vllm_environment(), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # it starts sooner
    pipes: Any = {"input": json.dumps(given) + "\n", "stdout": subprocess.PIPE, "text": True}
    ran = subprocess.run([str(VLLM), "-P", batch_probe.__file__], env=environment, check=True, **pipes)
    found = json.loads(ran.stdout)
    assert len(found["ahead"]) == len(given["requests"]) and found["ahead"]["90"] == "image_broken"
    # On CPUs the probe ends as soon as no request waits.
    assert len(found["inside"]) >= model.task.sampling.max_tokens and set(found["inside"]) == {2 * PLACES}
    assert len(found["in_turns"]) > 1 and found["in_turns"].items() <= found["ahead"].items()
