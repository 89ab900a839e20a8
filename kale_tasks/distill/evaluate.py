"""Evaluation of a student on held-out captions, beside its teacher's captions, and the promotion gate."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from kale_tasks.distill.batches import BatchDataset, pad_examples, pad_rows
from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.examples import ExampleEncoder, TrainingExample
from kale_tasks.distill.loss import CaptionLoss
from kale_tasks.engines.transformers import generate_tokens
from kale_tasks.settings.distill import Gate
from kale_tasks.text.grounding import ground


@dataclass(frozen=True)
class CaptionMetrics:
    """Metrics of some captions. Shares are between 0 and 1."""

    rows: int
    facts_carried: float  # of the alt-text facts in the teacher's captions
    facts_invented: float  # of all stated facts: those in neither the alt-text nor the dense caption
    description: float  # of the word pairs of the dense captions: those that the captions contain
    words: float
    repetition: float  # of the groups of four words: those that occurred before in the same caption
    bits: float | None = None  # loss per character of the teacher's captions


@dataclass(frozen=True)
class GeneratedCaption:
    """What a model wrote for a held-out sample."""

    sample: CaptionSample
    text: str


@dataclass(frozen=True)
class PromotionVerdict:
    """The result of the promotion gate; `text` explains it with figures."""

    accepted: bool
    text: str


def evaluate_student(
    model: Any, processor: Any, encoder: ExampleEncoder, dataset: BatchDataset, examples: Sequence[TrainingExample],
    batch: int, max_tokens: int,
) -> tuple[list[GeneratedCaption], CaptionMetrics]:  # fmt: skip
    """Let a model caption the examples greedily, in batches. Return the captions and their metrics."""
    module = CaptionLoss(model, processor).eval()
    pad_id = processor.tokenizer.pad_token_id
    captions: list[GeneratedCaption] = []
    loss, characters = 0.0, 0
    for at in range(0, len(examples), batch):
        good, images = dataset.decode_images(examples[at : at + batch])
        if not good:
            continue
        pixels = torch.stack(images).to(model.device)
        with torch.inference_mode():
            ids, labels = pad_examples(good, pad_id)
            loss += float(module(ids.to(model.device), labels.to(model.device), pixels))
        characters += sum(len(example.sample.caption) for example in good)
        rows = _generate(module, good, pixels, pad_id, max_tokens)
        captions += [GeneratedCaption(e.sample, encoder.decode(row)) for e, row in zip(good, rows, strict=True)]
    return captions, caption_metrics(captions, loss / math.log(2) / max(1, characters))


def _generate(
    module: CaptionLoss, examples: Sequence[TrainingExample], pixels: torch.Tensor, pad_id: int, max_tokens: int
) -> list[list[int]]:
    inputs = {
        "input_ids": pad_rows([example.prompt for example in examples], pad_id, side="left").to(pixels.device),
        "attention_mask": pad_rows([[1] * len(e.prompt) for e in examples], 0, side="left").to(pixels.device),
        "pixel_values": module.normalize(pixels),
    }
    return generate_tokens(module.model, inputs, max_tokens, do_sample=False, pad_token_id=pad_id)


def caption_metrics(captions: Sequence[GeneratedCaption], bits: float | None = None) -> CaptionMetrics:
    """Compute the metrics of some captions. For the teacher's metrics, pass its own captions as the texts."""
    carried, invented, pairs = Counter[bool](), Counter[bool](), Counter[bool]()
    words: list[int] = []
    repetitions: list[float] = []
    for caption in captions:
        sample = caption.sample
        carried.update(fact in caption.text for fact in ground(sample.caption, sample.dense, sample.alt).from_alt)
        found = ground(caption.text, sample.dense, sample.alt)
        invented.update(fact in found.invented for fact in found.facts)
        pairs.update(_contained_pairs(sample.dense, caption.text))
        words.append(len(caption.text.split()))
        repetitions.append(_repetition(caption.text.split()))
    return CaptionMetrics(
        rows=len(captions),
        facts_carried=_share(carried, 1.0),
        facts_invented=_share(invented, 0.0),
        description=_share(pairs, 1.0),
        words=round(sum(words) / max(1, len(words)), 2),
        repetition=round(sum(repetitions) / max(1, len(repetitions)), 4),
        bits=None if bits is None else round(bits, 4),
    )


def promotion_verdict(
    student: CaptionMetrics, teacher: CaptionMetrics, in_use: CaptionMetrics | None, gate: Gate
) -> PromotionVerdict:
    """Accept a student that is close enough to its teacher, and better than the student in use if there is one."""
    gap = student.facts_invented - teacher.facts_invented
    agreement = student.description / max(teacher.description, 1e-9)
    checks = [
        (student.facts_carried >= gate.facts_carried,
         f"facts carried: {student.facts_carried:.3f} of its teacher's (at least {gate.facts_carried:g})"),
        (gap <= gate.facts_invented,
         f"facts invented: {100 * gap:+.1f} points against its teacher (at most {100 * gate.facts_invented:+.1f})"),
        (agreement >= gate.description,
         f"description: {agreement:.3f} of its teacher's (at least {gate.description:g})"),
    ]  # fmt: skip
    if in_use is not None:
        new, old = promotion_score(student), promotion_score(in_use)
        checks.append((new > old, f"score: {new:.3f} (more than {old:.3f}, that of the student in use)"))
    failed = [text for passed, text in checks if not passed]
    if failed:
        return PromotionVerdict(False, f"Refused. {'; '.join(failed)}.")
    return PromotionVerdict(True, f"Accepted. {'; '.join(text for _, text in checks)}.")


def promotion_score(metrics: CaptionMetrics) -> float:
    """Return one figure to compare two students by: the mean of facts carried and description, less facts invented."""
    return (metrics.facts_carried + metrics.description) / 2 - metrics.facts_invented


def _contained_pairs(dense: str, text: str) -> Iterator[bool]:
    left = Counter(_word_pairs(text))
    for pair in _word_pairs(dense):
        left[pair] -= 1
        yield left[pair] >= 0


def _word_pairs(text: str) -> list[tuple[str, str]]:
    words = text.lower().split()
    return list(pairwise(words))


def _repetition(words: Sequence[str]) -> float:
    groups = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return 1 - len(set(groups)) / len(groups) if groups else 0.0


def _share(counts: Counter[bool], empty: float) -> float:
    total = counts[True] + counts[False]
    return round(counts[True] / total, 4) if total else empty
