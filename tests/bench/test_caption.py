"""`kale bench caption` measures what it says, and its models have the architectures and sizes that it says."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from kale_tasks.bench.checkpoint import families, make_checkpoint
from kale_tasks.bench.machine import describe_machine, gpus_of, idle_share
from kale_tasks.recipes.parts import Verified
from tests.kale import kale
from tests.lakes import settings_of

TEXTS = ["Describe this image in one paragraph.", "Write one paragraph."]
# Millions of weights, as the cards of the published models say; the student's are those of its parts.
SIZES = {"qwen3_vl": 8767, "qwen2": 7616, "qwen3": 8191, "gemma3": 4300, "internvl": 7944, "student": 1961}
NUMBERS = {"<|endoftext|>": 151643, "<|im_end|>": 151645, "<|vision_start|>": 151652, "<|image_pad|>": 151655}


OURS = ["caption.recipe=kale", "caption.engine=transformers", "caption.device=cpu", "caption.batch=4"]


def test_an_engine_is_measured_beside_its_library_on_a_page_that_is_ready_to_be_kept() -> None:
    page = kale("bench", "caption", "--pictures", "2", "--rounds", "1", sets=OURS).out
    assert page.startswith("# Speed of captioning\n") and "\nMachine: " in page
    assert max(len(line) for line in page.splitlines() if line[:1] != "|") <= 120
    table = [line.split("|")[1:-1] for line in page.splitlines() if line[:1] == "|"]
    bare, ours = ([cell.strip() for cell in row] for row in table[2:])
    assert (bare[0], ours[0], bare[5]) == ("bare", "ours", "1.000")
    assert all(float(cell) > 0 for row in (bare, ours) for cell in (row[1], row[3], row[5], row[6]))
    (entry,) = yaml.safe_load(page.partition("```yaml")[2].partition("```")[0])["verified"]
    measured = Verified.model_validate(entry)
    assert measured.task == "dense" and measured.engine.startswith("transformers 5.")


def test_a_model_whose_architecture_is_unknown_is_measured_with_its_own_weights_only() -> None:
    ran = kale("bench", "caption", "--recipe", "demo", "--weights", "tiny", sets=OURS)
    assert ran.code == 2 and "sample:teacher is not known here" in ran.err and "--weights recipe" in ran.err


@pytest.mark.parametrize("name", list(families()))
def test_a_family_in_its_real_size_is_the_published_model_without_weights(name: str, tmp_path: Path) -> None:
    import torch
    import transformers
    from transformers import AutoConfig, AutoTokenizer

    folder = make_checkpoint(name, tmp_path, TEXTS, real=True, weights=False)
    config: Any = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = getattr(transformers, config.architectures[0])(config)
    weights = {id(one): one.numel() for one in model.parameters()}
    assert round(sum(weights.values()) / 1e6) == SIZES[name]
    if name != "gemma3":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert {token: tokenizer.convert_tokens_to_ids(token) for token in NUMBERS} == NUMBERS
    assert not list(folder.glob("*.safetensors"))


def test_the_idle_share_of_gpus_is_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text(
        "#!/bin/sh\ncase \"$*\" in\n*-L*) echo 'GPU 0: H200 (UUID: GPU-1)';;\n*driver*) echo 580.65;;\n"
        "*utilization*) echo 90; echo 70; sleep 60;;\n*) echo H200;;\nesac\n"
    )
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = gpus_of(settings_of(["caption.engine=vllm"]).caption)
    assert gpus == ["0"] and "1 x H200 (driver 580.65)" in describe_machine(gpus)
    with idle_share(gpus) as idle:
        time.sleep(0.5)
        assert idle() == pytest.approx(0.2)
    with idle_share([]) as idle:
        assert 0 <= idle() <= 1
