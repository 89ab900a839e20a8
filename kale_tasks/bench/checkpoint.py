"""Checkpoints of the architectures that recipes name, with random weights: to measure and to test without a download.

`families.yaml` has their sizes, processor settings, special tokens and chat templates.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kale_tasks.bench.vocabulary import build_tokenizer
from kale_tasks.distill.model import IMAGE_TOKEN, add_image_token, save, student_config, student_processor

Family = Mapping[str, Any]


@cache
def families() -> Mapping[str, Family]:
    """Return every family by its name."""
    loaded: dict[str, Family] = yaml.safe_load(Path(__file__).with_name("families.yaml").read_text("utf-8"))
    return loaded


def make_checkpoint(name: str, folder: Path, texts: Iterable[str], *, real: bool = False, weights: bool = True) -> Path:
    """Write a checkpoint of a family to a folder, in its real size or in a tiny one.

    The vocabulary is learned from the texts. Without weights, an engine has to make them up when it loads the model.
    """
    family = families()[name]
    tokenizer = build_tokenizer(family, texts, padded=real)
    folder.mkdir(parents=True, exist_ok=True)
    config, processor = _parts(family, family["real" if real else "tiny"], tokenizer)
    kind = _model_class(family, config)
    config.architectures = [kind.__name__]
    ends = [tokenizer.convert_tokens_to_ids(token) for token in family["ends"]]
    if weights:
        _save_weights(kind, config, processor, folder, ends)
    else:
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
    for file, content in {**family.get("files", {}), "generation_config.json": {"eos_token_id": ends}}.items():
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return folder


def _parts(family: Family, size: Mapping[str, Any], tokenizer: Any) -> tuple[Any, Any]:
    """Make the configuration of a model, and what is saved beside it."""
    from transformers import AutoConfig

    if family["model"] == "student":
        return _student(size, tokenizer)
    known = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    known["pad_token_id"] = tokenizer.pad_token_id
    if "text_config" not in size:
        return AutoConfig.for_model(**{**known, **size}), tokenizer
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in family["ids"].items()}
    return AutoConfig.for_model(**{**size, **ids, "text_config": {**known, **size["text_config"]}}), tokenizer


def _student(size: Mapping[str, Any], tokenizer: Any) -> tuple[Any, Any]:
    from transformers import AutoConfig

    add_image_token(tokenizer)
    vision = AutoConfig.for_model(**size["vision"])
    text = AutoConfig.for_model(**{"vocab_size": len(tokenizer), **size["llm"]})
    return student_config(vision, text, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)), student_processor(
        vision, tokenizer
    )


def _model_class(family: Family, config: Any) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    kinds: Any = AutoModelForCausalLM if family["model"] == "text" else AutoModelForImageTextToText
    return kinds._model_mapping[type(config)]


def _save_weights(kind: Any, config: Any, processor: Any, folder: Path, ends: list[int]) -> None:
    import torch

    torch.manual_seed(0)
    model = kind(config)
    model.generation_config.eos_token_id = ends
    save(model, processor, folder)
