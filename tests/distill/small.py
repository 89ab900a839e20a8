"""A small lake with captions of drawn scenes, and a model of a few thousand weights."""

import hashlib
from pathlib import Path
from random import Random

import pyarrow as pa

from kale_tasks.contract.step import Step
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.settings import load
from kale_tasks.world.alttext import make_kind, write_alt
from kale_tasks.world.describe import dense, fused
from kale_tasks.world.draw import draw, jpeg
from kale_tasks.world.scene import make_facts, make_scene

KEY = "2026-11-01"
SHARD = "images/shard.bin"


class CommitRows(Step):
    """A step that commits the rows it is given."""

    def __init__(self, name, table, slice_, rows):
        self.name, self.table, self.slice, self.rows = name, table, slice_, rows

    def config(self, settings):
        return {"rows": len(self.rows)}

    def inputs(self, lake, settings, key):
        return {}

    def chunks(self, run):
        return [Chunk(index=0, first_part=0, parts=1)]

    def work(self, run, chunk, numbers):
        yield Part(0, pa.Table.from_pylist(self.rows), len(self.rows))


def small_settings(folder: Path, base: Path, **train):
    """Return settings for a training that takes seconds."""
    return load(environ={}, overrides=small_overrides(folder, base, **train)).settings


def small_overrides(folder: Path, base: Path, **train) -> list[str]:
    """Return the overrides of such settings."""
    chosen = {
        "steps": 8, "connector_steps": 3, "batch": 4, "accumulate": 2, "rate": 1e-3, "connector_rate": 1e-3,
        "dtype": "float32", "checkpointing": False, "device": "cpu", "threads": 1, "checkpoint_steps": 2, **train,
    }  # fmt: skip
    overrides = [
        f"warehouse={folder}/lake",
        "caption.recipe=demo",
        "caption.engine=transformers",
        "log=plain",
        f"distill.base={base}",
    ]
    overrides += ["caption.device=cpu", "caption.batch=8"]
    overrides += [f"distill.train.{name}={str(value).lower()}" for name, value in chosen.items()]
    overrides += ["distill.lessons.held_out=0.2", "distill.lessons.pool_rows=256", "distill.lessons.workers=0"]
    overrides += ["distill.lessons.max_tokens=1024", "distill.gate.rows=6", "distill.gate.batch=6"]
    return overrides


def commit_captions(lake: Lake, key: str, rows: int) -> list[dict]:
    """Commit images and their correct stage-1 captions for a key. Return the captions."""
    rng = Random(f"captions {key}")
    images, captions, shard = [], [], b""
    for number in range(rows):
        scene = make_scene(rng)
        alt = write_alt(rng, make_kind(rng), scene, make_facts(rng))
        drawn = draw(scene)
        data = jpeg(drawn)
        uid = hashlib.sha256(f"{key} {number}".encode()).hexdigest()[:32]
        sha256 = hashlib.sha256(data).hexdigest()
        images.append({"uid": uid, "key": key, "status": "ok", "sha256": sha256, "shard": f"{SHARD}.{key}",
                       "offset": len(shard), "length": len(data), "width": drawn.width, "height": drawn.height,
                       })  # fmt: skip
        captions.append({"uid": uid, "key": key, "recipe": "demo", "stage": 1, "sha256": sha256, "alt_text": alt.text,
                         "dense_caption": dense(scene), "caption": fused(scene, alt.facts)})  # fmt: skip
        shard += data
    lake.storage.put(f"{SHARD}.{key}", shard)
    images, captions = (sorted(some, key=lambda row: row["uid"]) for some in (images, captions))
    execute(Run(CommitRows("images", "images", {}, images), lake, lake.settings, key))
    execute(Run(CommitRows("fuse", "captions", {"recipe": "demo", "stage": 1}, captions), lake, lake.settings, key))
    return captions


def small_base(folder: Path) -> Path:
    """Save an untrained model with the tokenizer of the tiny models and fewer weights."""
    import torch
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    from kale_tasks.distill.model import save
    from kale_tasks.world.models.tokenizer import IMAGE, build_processor

    torch.manual_seed(0)
    processor = build_processor()
    tokenizer = processor.tokenizer
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    side = processor.image_processor.size["height"]
    vision = SiglipVisionConfig(**sizes, image_size=side, patch_size=processor.patch_size, vision_use_head=False)
    text = LlamaConfig(
        **sizes, vocab_size=len(tokenizer), max_position_embeddings=2048, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(side // processor.patch_size) ** 2, vision_feature_layer=-1,
        vision_feature_select_strategy="full", tie_word_embeddings=False,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    save(model, processor, folder)
    return folder
