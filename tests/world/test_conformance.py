"""transformers and vLLM give the same tokens for the tiny models: fp32, greedy."""

import base64
import json
import os
import subprocess
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.models import CHECKPOINTS
from kale_tasks.world.models.examples import SceneExample, describe_example, fuse_example
from kale_tasks.world.models.measure import answer_ids

HERE = Path(__file__).parent
VLLM_PYTHON = HERE.parents[1] / ".venv-vllm" / "bin" / "python"  # `make vllm` builds it
MAX_TOKENS = 160
VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def with_image_url(example: SceneExample, picture: bytes) -> list[dict[str, Any]]:
    """Return the conversation with the image as a data URL, as servers take it."""
    url = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    system, user = example.messages
    return [system, user | {"content": [{"type": "image_url", "image_url": {"url": url}}, user["content"][1]]}]


def by_transformers(name: str, examples: list[SceneExample], pictures: list[bytes]) -> list[list[int]]:
    from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer, LlavaForConditionalGeneration

    folder = CHECKPOINTS / name
    model: Any = (LlavaForConditionalGeneration if pictures else AutoModelForCausalLM).from_pretrained(folder)
    processor = (AutoProcessor if pictures else AutoTokenizer).from_pretrained(folder)
    images = [Image.open(BytesIO(picture)) for picture in pictures]
    return list(answer_ids(model, processor, [example.messages for example in examples], images, MAX_TOKENS))


def by_vllm(jobs: list[dict[str, Any]], folder: Path) -> list[list[list[int]]]:
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [VLLM_PYTHON, HERE / "vllm_answers.py", folder / "jobs.json", folder / "answers.json"]
    done = subprocess.run(command, env=os.environ | VLLM_ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: list[list[list[int]]] = json.loads((folder / "answers.json").read_text())
    return answers


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_same_prompt_gives_the_same_tokens(tmp_path: Path) -> None:
    rng = Random("conformance")
    seen, read = [describe_example(rng) for _ in range(12)], [fuse_example(rng) for _ in range(12)]
    pictures = [jpeg(draw(example.scene)) for example in seen]
    shown = [with_image_url(*pair) for pair in zip(seen, pictures, strict=True)]
    asked = {"teacher": shown, "base": shown, "fuser": [example.messages for example in read]}
    jobs = [
        {"model": str(CHECKPOINTS / name), "conversations": talks, "max_tokens": MAX_TOKENS}
        for name, talks in asked.items()
    ]
    expected = [
        by_transformers("teacher", seen, pictures),
        by_transformers("base", seen, pictures),
        by_transformers("fuser", read, []),
    ]
    assert by_vllm(jobs, tmp_path) == expected
