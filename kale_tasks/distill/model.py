"""The student's model: built from its parts or loaded, and saved so that transformers and vLLM both load it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kale_tasks.distill.low_rank import add_low_rank, train_updates
from kale_tasks.errors import BadConfig
from kale_tasks.models.locate import locate
from kale_tasks.settings.distill import Distill, Train

IMAGE_TOKEN = "<image>"
_SAFE: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True}
_VISION, _LANGUAGE = ("vision_tower", "visual", "vision_model"), ("language_model", "text_model")
_TOWER, _VLLM_TOWER = "vision_tower.", "vision_tower.vision_model."


def load_base(distill: Distill) -> tuple[Any, Any]:
    """Return model and processor that a training starts from.

    Seeds torch with `train.seed` first, so that the connector of a new student is the same in every process and run.
    """
    torch.manual_seed(distill.train.seed)
    parts = (distill.vision, distill.llm)
    model, processor = load(locate(distill.base)) if distill.base else build(*map(locate, parts))
    return with_updates(model, distill.train), processor


def with_updates(model: Any, train: Train) -> Any:
    """Return the model with low-rank updates of its language model, if these are trained."""
    if train.rank:
        add_low_rank(model, language_of(model).layers, train.rank)
    return model


def load(folder: Path) -> tuple[Any, Any]:
    """Load model and processor from a folder, weights as float32."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    kind: Any = AutoModelForImageTextToText
    model = kind.from_pretrained(folder, dtype=torch.float32, **_SAFE)
    processor: Any = AutoProcessor
    return model, processor.from_pretrained(folder, trust_remote_code=False)


def build(vision: Path, llm: Path) -> tuple[Any, Any]:
    """Build a new student from a pretrained vision tower and language model, and a connector with random weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration, SiglipVisionModel

    vision_config = _vision_config(vision, trust_remote_code=False)
    tower = SiglipVisionModel.from_pretrained(vision, config=vision_config, dtype=torch.float32, use_safetensors=True)
    text = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32, **_SAFE)
    tokenizer = AutoTokenizer.from_pretrained(llm, trust_remote_code=False)
    add_image_token(tokenizer)
    text.resize_token_embeddings(max(len(tokenizer), text.config.vocab_size), mean_resizing=False)
    model = LlavaForConditionalGeneration(
        student_config(vision_config, text.config, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
    )
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, student_processor(vision_config, tokenizer)


def outline(distill: Distill) -> Any:
    """Build the model that a training starts from without its weights, from configurations alone."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    kind: Any = AutoModelForImageTextToText
    if distill.base:
        config = AutoConfig.from_pretrained(**_named(distill.base))
    else:
        text = AutoConfig.from_pretrained(**_named(distill.llm))
        config = student_config(_vision_config(**_named(distill.vision)), text, image_token=text.vocab_size - 1)
    with torch.device("meta"):
        return kind.from_config(config)


def load_processor(distill: Distill) -> Any:
    """Load the processor of the model that a training starts from, without any weights."""
    from transformers import AutoProcessor, AutoTokenizer

    if distill.base:
        processor: Any = AutoProcessor
        return processor.from_pretrained(**_named(distill.base))
    tokenizer = AutoTokenizer.from_pretrained(**_named(distill.llm))
    add_image_token(tokenizer)
    return student_processor(_vision_config(**_named(distill.vision)), tokenizer)


def _named(name: str) -> dict[str, Any]:
    """Return the arguments with which transformers finds a model; on the Hub it then reads single files only."""
    repo, at, revision = name.partition("@")
    where = {"pretrained_model_name_or_path": repo, "revision": revision} if at else {}
    return {"trust_remote_code": False, **(where or {"pretrained_model_name_or_path": locate(name)})}


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write model and processor to a folder that transformers and vLLM both load."""
    from safetensors.torch import load_file, save_file

    model.save_pretrained(folder, max_shard_size="1TB")
    processor.save_pretrained(folder)
    if getattr(getattr(model.config, "vision_config", None), "model_type", "").startswith("siglip"):
        weights = load_file(folder / "model.safetensors")
        save_file(rename_vision_tower(weights), folder / "model.safetensors", metadata={"format": "pt"})


def rename_vision_tower(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of a SigLIP tower to what vLLM expects; transformers reads both names."""
    return {_vllm_name(name): weight for name, weight in weights.items()}


def freeze_unused(model: Any) -> None:
    """Freeze the part of the vision tower behind the layer that the connector reads, since it gets no gradient."""
    tower, layer = model.model.vision_tower, model.config.vision_feature_layer
    layers = tower.encoder.layers
    unused = [tower.post_layernorm, *layers[len(layers) + layer + 1 :]]
    if getattr(tower, "use_head", False):
        unused.append(tower.head)
    for part in unused:
        part.requires_grad_(False)


def choose_trained(model: Any, *, connector_only: bool, vision: bool) -> None:
    """Freeze what is not trained: what gets no gradient, all but the connector, or the vision tower.

    Of a model with low-rank updates these are trained, and the connector of a student.
    """
    connector = getattr(model.model, "multi_modal_projector", None) if is_student(model) else None
    if connector_only and connector is None:
        raise BadConfig(f"{type(model).__name__} has no connector of its own: set distill.train.connector_steps=0.")
    if connector_only:
        model.requires_grad_(False)
    elif not train_updates(model):
        if connector:
            freeze_unused(model)
        if not vision:
            vision_of(model).requires_grad_(False)
        return
    if connector:
        connector.requires_grad_(True)


def is_student(model: Any) -> bool:
    """Whether a model is of the class of a new student, or an existing vision-language model of another one."""
    return bool(model.config.model_type == "llava")


def vision_of(model: Any) -> Any:
    """Return the vision tower, as classes of models name it."""
    return next(part for name in _VISION if (part := getattr(model.model, name, None)) is not None)


def language_of(model: Any) -> Any:
    """Return the language model without its head, as classes of models name it."""
    return next(part for name in _LANGUAGE if (part := getattr(model.model, name, None)) is not None)


def layers_of(part: Any) -> Any:
    """Return the layers of a vision tower or a language model, which are most of its weights."""
    if hasattr(part, "blocks"):
        return part.blocks
    return part.encoder.layers if hasattr(part, "encoder") else part.layers


def patches_per_token(config: Any) -> int:
    """Return how many patches of an image the language model sees as one token."""
    side = getattr(config.vision_config, "spatial_merge_size", 0) or getattr(config, "scale_factor", 1)
    return int(side) ** 2


def is_fixed_size(processor: Any) -> bool:
    """Whether all images have one size and so as many tokens, as those of a new student."""
    return "height" in processor.image_processor.size and hasattr(processor, "vision_feature_select_strategy")


def image_side(processor: Any) -> int:
    """Return the width and height in pixels of the images that the model takes."""
    return int(processor.image_processor.size["height"])


def _vllm_name(name: str) -> str:
    if name.startswith(_TOWER) and not name.startswith(_VLLM_TOWER):
        return name.replace(_TOWER, _VLLM_TOWER, 1)
    return name


def _vision_config(pretrained_model_name_or_path: Path | str, **how: Any) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(pretrained_model_name_or_path, **how)
    config = getattr(config, "vision_config", config)
    config.vision_use_head = False  # the connector reads patches, not the pooled image
    return config


def add_image_token(tokenizer: Any) -> None:
    """Add the token in whose place an image goes to the tokenizer of a language model."""
    if IMAGE_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_tokens([IMAGE_TOKEN], special_tokens=True)


def student_config(vision: Any, text: Any, image_token: Any) -> Any:
    """Return the configuration of a student made of a vision tower and a language model."""
    from transformers import LlavaConfig

    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=image_token,
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
        tie_word_embeddings=text.tie_word_embeddings,
    )


def student_processor(vision: Any, tokenizer: Any) -> Any:
    """Return the processor of a student, with a chat template that takes messages in parts."""
    from transformers import LlavaProcessor, SiglipImageProcessor

    processor: Any = LlavaProcessor
    flatten = Path(__file__).with_name("image_parts.jinja").read_text(encoding="utf-8")
    tokenizer.chat_template = flatten + tokenizer.chat_template
    return processor(
        image_processor=SiglipImageProcessor(size={"height": vision.image_size, "width": vision.image_size}),
        tokenizer=tokenizer,
        patch_size=vision.patch_size,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
    )
