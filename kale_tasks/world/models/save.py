"""Writes a model so that transformers and vLLM load it unchanged."""

import json
from pathlib import Path
from typing import Any

_TOWER, _TOWER_OF_VLLM = "vision_tower.", "vision_tower.vision_model."


def save(model: Any, processor: Any, folder: Path) -> None:
    """Saves model and processor (or tokenizer); weights lie in half precision and are loaded as fp32.

    The model itself is rounded as well, so that what is measured or built upon is what is saved.
    """
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())
    model.half().save_pretrained(folder)
    model.float()
    processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    _load_as_fp32(folder / "config.json")
    _name_as_vllm_does(folder / "model.safetensors")


def _load_as_fp32(path: Path) -> None:
    config = json.loads(path.read_text())
    for part in (config, config.get("text_config"), config.get("vision_config")):
        if part:
            part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")


def _name_as_vllm_does(path: Path) -> None:
    """A tower built afresh is saved under names that vLLM does not know; transformers reads both."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    if any(_TOWER in name for name in weights) and not any(_TOWER_OF_VLLM in name for name in weights):
        renamed = {name.replace(_TOWER, _TOWER_OF_VLLM): weight for name, weight in weights.items()}
        save_file(renamed, path, {"format": "pt"})
