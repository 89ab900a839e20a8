"""A new student is built from unchanged parts and saved under names that every engine reads."""

import pytest
import torch
from safetensors import safe_open

from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.examples import ExampleEncoder
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import build, load, load_base, save
from kale_tasks.lake.shards import Span
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load as load_settings

# The template of a text-only model: it concatenates the content as a string, so a list would raise.
TEXT_ONLY = (
    "{%- for message in messages -%}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A vision tower and a language model that were trained apart."""
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


def test_the_pretrained_parts_keep_their_weights(parts, built):
    from transformers import AutoModelForCausalLM, SiglipVisionModel

    model, _ = built
    text = AutoModelForCausalLM.from_pretrained(parts / "llm").model.state_dict()
    kept = model.model.language_model.state_dict()
    assert all(torch.equal(weight, kept[name][: len(weight)]) for name, weight in text.items())
    tower = SiglipVisionModel.from_pretrained(parts / "vision").state_dict()
    kept = model.model.vision_tower.state_dict()
    assert kept and all(torch.equal(weight, tower[name]) for name, weight in kept.items())


def test_a_new_student_is_trained_in_the_chat_format_of_its_language_model(built):
    model, processor = built
    sample = CaptionSample("0" * 32, "Ubuna, 1844", "A red cup.", "A red cup named Ubuna.", 0, (), Span("s", 0, 1))
    example = ExampleEncoder(processor, load_recipe("demo")).encode(sample, load_recipe("demo").own_lesson())
    assert example.prompt.count(model.config.image_token_index) == 16
    ids = torch.tensor([example.prompt + example.answer])
    loss = CaptionLoss(model, processor)(ids, ids, torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert torch.isfinite(loss) and loss > 0


def test_a_new_student_has_the_same_weights_at_every_build_with_the_same_seed(parts):
    def weights(seed):
        distill = load_settings(environ={}).settings.distill
        train = distill.train.model_copy(update={"seed": seed})
        new = {"base": "", "vision": str(parts / "vision"), "llm": str(parts / "llm"), "train": train}
        torch.rand(7)  # the state of torch's generator must not matter
        model, _ = load_base(distill.model_copy(update=new))
        return model.state_dict()

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    assert [name for name, weight in first.items() if not torch.equal(weight, other[name])]


def test_a_saved_model_is_loaded_unchanged_and_has_the_names_that_vllm_expects(built, tmp_path):
    model, processor = built
    save(model, processor, tmp_path)
    loaded, _ = load(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        towers = [name for name in file.keys() if "vision_tower" in name]  # noqa: SIM118 - not a mapping
    assert towers and all(name.startswith("vision_tower.vision_model.") for name in towers)
