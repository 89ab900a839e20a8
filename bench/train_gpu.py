"""The student at the size of production, from random weights on one GPU: tokens a second, memory, share of the peak.

python -m bench.train_gpu --peak 989
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from kale_tasks.distill.batches import IGNORED
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.distill.model import freeze_unused

PATCHES, LENGTH, QUESTION = 729, 960, 850
BATCHES, STEPS, WARM = (8, 16, 32), 8, 2


def model() -> Any:
    """About 2 B weights: a so400m tower, two layers between, a language model of the 1.5 B class."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, Qwen2Config, SiglipVisionConfig

    tower = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    text = {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12}
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(**tower, image_size=384, patch_size=14, vision_use_head=False),
        text_config=Qwen2Config(**text, num_key_value_heads=2, vocab_size=151936),
        image_token_index=9,
        image_seq_length=PATCHES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="full",
    )
    with torch.device("cuda"):
        return LlavaForConditionalGeneration(config)


class Scale:
    """A processor of which CaptionLoss needs only the scale of pixels."""

    image_processor = type("Images", (), {"image_mean": (0.5,) * 3, "image_std": (0.5,) * 3})


def lessons(size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random ids, labels and pictures on the GPU."""
    ids = torch.randint(10, 1000, (size, LENGTH), device="cuda")
    ids[:, 20 : 20 + PATCHES] = 9
    labels = torch.where(torch.arange(LENGTH, device="cuda") < QUESTION, IGNORED, ids)
    return ids, labels, torch.randint(0, 255, (size, 3, 384, 384), dtype=torch.uint8, device="cuda")


def step(module: CaptionLoss, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor, ...]) -> float:
    """Seconds of one optimiser step."""
    began = time.monotonic()
    with torch.autocast("cuda", torch.bfloat16):
        loss = module(*batch) / batch[0].numel()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    loss.item()
    return time.monotonic() - began


def measure(peak: float) -> str:
    """A line for each size of batch."""
    module = CaptionLoss(model(), Scale()).train().cuda()
    module.model.gradient_checkpointing_enable({"use_reentrant": False})
    freeze_unused(module.model)
    optimizer = torch.optim.AdamW([w for w in module.parameters() if w.requires_grad], 1e-5, fused=True)
    count = sum(weight.numel() for weight in module.parameters()) / 1e9
    lines = [
        f"{torch.cuda.get_device_name()}; {count:.2f} B weights; lessons of {LENGTH} tokens; bfloat16 arithmetic.",
        "",
        "| batch | tokens a second | images a second | peak GB | MFU |",
        "|---|---|---|---|---|",
    ]
    for size in BATCHES:
        torch.cuda.reset_peak_memory_stats()
        batch = lessons(size)
        took = statistics.median([step(module, optimizer, batch) for _ in range(STEPS)][WARM:])
        share = 100 * module.flops(batch[0], batch[1]) / took / (peak * 1e12)
        memory = torch.cuda.max_memory_allocated() / 2**30
        lines.append(f"| {size} | {size * LENGTH / took:.0f} | {size / took:.1f} | {memory:.1f} | {share:.1f} % |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--peak", type=float, default=989.0, help="Peak of the device in bfloat16, 10^12 a second.")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This measures a GPU, and there is none here.")
    table = measure(chosen.peak)
    chosen.out.write_text(f"# Training at real size\n\n{table}", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
