"""Writes a tiny model so that transformers and vLLM load it unchanged."""

import json
from pathlib import Path
from typing import Any

from kale_tasks.distill.model import rename_vision_tower


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
