"""Architectures of the tiny models. Attention heads are 32 wide, the smallest that vLLM supports on CPUs."""

import json
import math
from pathlib import Path
from typing import Any

from kale_tasks.distill.model import rename_vision_tower
from kale_tasks.world.draw import SIDE
from kale_tasks.world.models.tokenizer import END, IMAGE, PAD, PATCH

VISION_WIDTH = 128
_TEXT_WIDTH = 160
_HEAD = 32
_LOOK_BACK_HEADS = 4  # of the five heads of the first layer
_ROPE_BASE = 10_000.0


def llm(tokenizer: Any) -> Any:
    """Build a text decoder of 1 M random weights. Four of its heads initially attend one to four tokens back.

    To copy a name, a model must find the letters that it has just written and continue from there. Heads that see those
    letters from the start let it learn this in some hundred steps.
    """
    from transformers import Qwen2ForCausalLM

    model = Qwen2ForCausalLM(_text_config(tokenizer))
    for head in range(_LOOK_BACK_HEADS):
        _look_back(model.model.layers[0].self_attn, head, head + 1)
    return model


def llava(tokenizer: Any) -> Any:
    """Build an image-to-text model with random weights: SigLIP tower, two-layer connector, and the same decoder."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=3 * VISION_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=VISION_WIDTH // _HEAD,
        image_size=SIDE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_text_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _look_back(attention: Any, head: int, distance: int) -> None:
    """Set the biases of a head so that its attention is highest at this distance."""
    import torch

    start = head * _HEAD
    with torch.no_grad():
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight[start : start + _HEAD] *= 0.1
        for pair in range(4):  # the fastest rotations distinguish neighbouring positions
            angle = distance * _ROPE_BASE ** (-2 * pair / _HEAD)
            attention.k_proj.bias[start + pair] = 6
            attention.q_proj.bias[start + pair] = 6 * math.cos(angle)
            attention.q_proj.bias[start + pair + _HEAD // 2] = -6 * math.sin(angle)


def _text_config(tokenizer: Any) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        architectures=["Qwen2ForCausalLM"],
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=_TEXT_WIDTH // _HEAD,
        num_key_value_heads=_TEXT_WIDTH // _HEAD,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": _ROPE_BASE},
        initializer_range=0.04,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        tie_word_embeddings=True,
    )


def save(model: Any, processor: Any, folder: Path) -> None:
    """Save model and processor (or tokenizer). Weights are stored as fp16, to be loaded as fp32.

    The weights of the model itself are rounded too, so that later steps continue from what is saved.
    """
    import torch
    from safetensors.torch import load_file, save_file

    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())
    model.half().save_pretrained(folder)
    model.float()
    processor.save_pretrained(folder)
    path = folder / "model.safetensors"
    path.chmod(0o644)
    save_file(rename_vision_tower(load_file(path)), path, {"format": "pt"})
    _load_as_fp32(folder / "config.json")


def _load_as_fp32(path: Path) -> None:
    config = json.loads(path.read_text())
    for part in (config, config.get("text_config"), config.get("vision_config")):
        if part:
            part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")
