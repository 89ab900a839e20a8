"""How good a student is: what it writes about held-out pictures, beside what its teacher wrote."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from kale_tasks.distill.batches import Pictures, padded
from kale_tasks.distill.dataset import Taught
from kale_tasks.distill.loss import Learner
from kale_tasks.distill.sampler import Lesson
from kale_tasks.distill.tokenization import Wording
from kale_tasks.text.grounding import ground


@dataclass(frozen=True)
class Figures:
    """What is known of some captions; shares are between 0 and 1."""

    rows: int
    facts_carried: float  # of the alt-text facts that the teacher's captions carry
    facts_invented: float  # of all facts stated: those that neither alt-text nor dense caption knows
    description: float  # word pairs of the dense caption that the caption has too
    words: float
    repetition: float  # word groups of four that stood in the caption before
    bits: float | None = None  # loss for each character of the teacher's captions


@dataclass(frozen=True)
class Answer:
    """A student's caption of a held-out picture."""

    taught: Taught
    text: str


def answers(
    model: Any, processor: Any, wording: Wording, pictures: Pictures, lessons: Sequence[Lesson], batch: int, most: int
) -> tuple[list[Answer], float]:
    """What a model writes, greedily, and its loss in bits for each character of what its teacher wrote."""
    learner = Learner(model, processor).eval()
    said: list[Answer] = []
    loss, characters = 0.0, 0
    with torch.inference_mode():
        for at in range(0, len(lessons), batch):
            good, images = pictures.decoded(lessons[at : at + batch])
            if not good:
                continue
            pixels = torch.stack(images).to(model.device)
            ids, labels = padded(good, processor.tokenizer.pad_token_id)
            loss += float(learner(ids.to(model.device), labels.to(model.device), pixels))
            characters += sum(len(lesson.taught.caption) for lesson in good)
            generated = _generated(learner, good, pixels, processor.tokenizer.pad_token_id, most)
            said += [Answer(one.taught, wording.text(ids)) for one, ids in zip(good, generated, strict=True)]
    return said, loss / math.log(2) / max(1, characters)


def figures(said: Sequence[Answer], bits: float | None = None) -> Figures:
    """The figures of some captions; of the teacher's own, when those are given as the answers."""
    carried, invented, pairs = Counter[bool](), Counter[bool](), Counter[bool]()
    words: list[int] = []
    repeated: list[float] = []
    for answer in said:
        taught = answer.taught
        carried.update(fact in answer.text for fact in ground(taught.caption, taught.dense, taught.alt).from_alt)
        found = ground(answer.text, taught.dense, taught.alt)
        invented.update(fact in found.invented for fact in found.facts)
        pairs.update(_found(taught.dense, answer.text))
        words.append(len(answer.text.split()))
        repeated.append(_repetition(answer.text.split()))
    return Figures(
        rows=len(said),
        facts_carried=_share(carried, 1.0),
        facts_invented=_share(invented, 0.0),
        description=_share(pairs, 1.0),
        words=round(sum(words) / max(1, len(words)), 2),
        repetition=round(sum(repeated) / max(1, len(repeated)), 4),
        bits=None if bits is None else round(bits, 4),
    )


def _generated(
    learner: Learner, lessons: Sequence[Lesson], pixels: torch.Tensor, pad: int, most: int
) -> list[list[int]]:
    longest = max(len(lesson.question) for lesson in lessons)
    ids = torch.full((len(lessons), longest), pad)
    mask = torch.zeros_like(ids)
    for row, lesson in enumerate(lessons):
        ids[row, longest - len(lesson.question) :] = torch.tensor(lesson.question)
        mask[row, longest - len(lesson.question) :] = 1
    device = pixels.device
    made = learner.model.generate(
        input_ids=ids.to(device), attention_mask=mask.to(device), pixel_values=learner.scaled(pixels),
        do_sample=False, max_new_tokens=most, pad_token_id=pad,
    )  # fmt: skip
    return [list(row) for row in made[:, longest:].tolist()]


def _found(dense: str, text: str) -> Iterator[bool]:
    left = Counter(_pairs(text))
    for pair in _pairs(dense):
        left[pair] -= 1
        yield left[pair] >= 0


def _pairs(text: str) -> list[tuple[str, str]]:
    words = text.lower().split()
    return list(pairwise(words))


def _repetition(words: Sequence[str]) -> float:
    groups = [tuple(words[at : at + 4]) for at in range(len(words) - 3)]
    return 1 - len(set(groups)) / len(groups) if groups else 0.0


def _share(counts: Counter[bool], empty: float) -> float:
    total = counts[True] + counts[False]
    return round(counts[True] / total, 4) if total else empty
