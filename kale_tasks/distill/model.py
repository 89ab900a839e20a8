"""The student's model: found, loaded, and saved so that every engine reads it."""

from pathlib import Path
from typing import Any

from kale_tasks.distill.build import build
from kale_tasks.models.locate import locate, pinned
from kale_tasks.settings.distill import Distill


def base_name(distill: Distill) -> str:
    """What a student starts from, pinned."""
    return pinned(distill.base) if distill.base else f"{pinned(distill.vision)} + {pinned(distill.llm)}"


def load_base(distill: Distill) -> tuple[Any, Any]:
    """Model and processor of a run that begins."""
    if distill.base:
        return load(locate(distill.base))
    return build(locate(distill.vision), locate(distill.llm))


def load(folder: Path) -> tuple[Any, Any]:
    """Model and processor of a folder, weights in float32."""
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    )
    processor: Any = AutoProcessor
    return model, processor.from_pretrained(folder, trust_remote_code=False)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write a model as one folder that transformers and vLLM both load."""
    from safetensors.torch import load_file, save_file

    model.save_pretrained(folder, max_shard_size="1TB")
    processor.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    # vLLM knows the tower by its older, deeper name; transformers reads both.
    named = {_served_name(name): tensor for name, tensor in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})


def freeze_unused(model: Any) -> None:
    """Freeze what of the vision tower lies behind the layer that the connector reads: it never gets a gradient."""
    tower, layer = model.model.vision_tower, model.config.vision_feature_layer
    layers = tower.encoder.layers
    unused = [tower.post_layernorm, *layers[len(layers) + layer + 1 :]]
    if getattr(tower, "use_head", False):
        unused.append(tower.head)
    for part in unused:
        part.requires_grad_(False)


def side_of(processor: Any) -> int:
    """Width and height of the pictures that the model sees."""
    return int(processor.image_processor.size["height"])


def _served_name(name: str) -> str:
    outer, inner = "vision_tower.", "vision_tower.vision_model."
    return name.replace(outer, inner, 1) if name.startswith(outer) and not name.startswith(inner) else name
