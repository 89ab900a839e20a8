"""A tiny encoder of texts and images, really trained: the captioner's eyes, and a text tower taught in seconds."""

from pathlib import Path
from random import Random

import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import LlavaForConditionalGeneration, SiglipConfig, SiglipModel, SiglipProcessor

from kale_tasks.models.locate import locate
from kale_tasks.world.describe import dense
from kale_tasks.world.models.tokenizer import build_processor
from kale_tasks.world.models.tower import pixels
from kale_tasks.world.scene import make_scene

_LENGTH, _BATCH = 96, 32


def train(folder: Path, steps: int = 60) -> None:
    """Teaches texts to find their pictures, and writes what AutoModel and AutoProcessor load."""
    torch.manual_seed(0)
    eyes = LlavaForConditionalGeneration.from_pretrained(locate("sample:teacher")).model.vision_tower
    parts = build_processor()
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    words = {"vocab_size": len(parts.tokenizer), "max_position_embeddings": _LENGTH, "projection_size": 128}
    text = {**shape, **words, "bos_token_id": None, "eos_token_id": None}
    vision = {**eyes.config.to_dict(), "vision_use_head": True}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    model.vision_model.load_state_dict(eyes.state_dict(), strict=False)
    for name, weight in model.vision_model.named_parameters():
        weight.requires_grad_("head" in name)
    rng, learned = Random("encoder"), [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        scenes = [make_scene(rng) for _ in range(_BATCH)]
        texts = [dense(scene) for scene in scenes]
        asked = parts.tokenizer(texts, padding="max_length", truncation=True, max_length=_LENGTH, return_tensors="pt")
        said = normalize(model.get_text_features(input_ids=asked.input_ids).pooler_output, dim=-1)
        seen = normalize(model.get_image_features(pixel_values=pixels(scenes, rng)).pooler_output, dim=-1)
        likeness = 20 * said @ seen.T
        own = torch.arange(_BATCH)
        loss = cross_entropy(likeness, own) + cross_entropy(likeness.T, own)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder)
    SiglipProcessor(parts.image_processor, parts.tokenizer).save_pretrained(folder)
