"""A student is built from parts as they are, and saved under names that every engine knows."""

import pytest
import torch
from safetensors import safe_open

from kale_tasks.distill.build import build
from kale_tasks.distill.dataset import Taught
from kale_tasks.distill.loss import Learner
from kale_tasks.distill.model import load, save
from kale_tasks.distill.tokenization import Wording
from kale_tasks.lake.shards import Span
from kale_tasks.recipes.recipe import load_recipe

# As text-only models write it: content is joined as a string, and a list would raise.
TEXT_ONLY = (
    "{%- for message in messages -%}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A vision tower and a language model that never met."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel

    from kale_tasks.world.models.tokenizer import build_tokenizer

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("parts")
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=64, patch_size=16)).save_pretrained(folder / "vision")
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEXT_ONLY
    tied = Qwen2Config(**sizes, num_key_value_heads=1, vocab_size=len(tokenizer), tie_word_embeddings=True)
    Qwen2ForCausalLM(tied).save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    return folder


@pytest.fixture(scope="module")
def built(parts):
    return build(parts / "vision", parts / "llm")


def test_the_parts_are_as_they_were(parts, built):
    from transformers import AutoModelForCausalLM, SiglipVisionModel

    model, _ = built
    text = AutoModelForCausalLM.from_pretrained(parts / "llm").model.state_dict()
    kept = model.model.language_model.state_dict()
    assert all(torch.equal(weight, kept[name][: len(weight)]) for name, weight in text.items())
    tower = SiglipVisionModel.from_pretrained(parts / "vision").state_dict()
    kept = model.model.vision_tower.state_dict()
    assert kept and all(torch.equal(weight, tower[name]) for name, weight in kept.items())


def test_a_new_student_learns_in_the_chat_format_of_its_language_model(built):
    model, processor = built
    taught = Taught("0" * 32, "Ubuna, 1844", "A red cup.", "A red cup named Ubuna.", 0, (), Span("s", 0, 1))
    lesson = Wording(processor, load_recipe("demo")).lesson(taught, "fused")
    assert lesson.question.count(model.config.image_token_index) == 16
    ids = torch.tensor([lesson.question + lesson.answer])
    loss = Learner(model, processor)(ids, ids, torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert torch.isfinite(loss) and loss > 0


def test_what_is_saved_is_what_is_loaded_and_has_the_names_that_vllm_knows(built, tmp_path):
    model, processor = built
    save(model, processor, tmp_path)
    again, _ = load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        towers = [name for name in file.keys() if "vision_tower" in name]  # noqa: SIM118 - not a mapping
    assert towers and all(name.startswith("vision_tower.vision_model.") for name in towers)
