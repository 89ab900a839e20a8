"""Endless training examples: conversations of which only the answer is learned."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from kale_tasks.world.alttext import write_alt
from kale_tasks.world.describe import dense, fused
from kale_tasks.world.draw import SIDE
from kale_tasks.world.models.fit import IGNORED
from kale_tasks.world.models.tokenizer import IMAGE, PATCH, SPECIAL, prompts
from kale_tasks.world.scene import Scene, make_facts, make_scene

# How often each kind of alt-text is taught, of a hundred: what is rare or hard comes more often than on the web.
LESSONS = {
    "full": 22, "partial": 32, "plain": 3, "generic": 5, "spam": 3, "foreign": 3, "strange": 2, "entities": 6,
    "emoji": 4, "wrong": 8, "pii": 4, "injection": 4, "mojibake": 1, "long": 3,
}  # fmt: skip
_ALIKE = 0.5  # likewise: every second name resembles another of its lesson
Message = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """What a model is asked about a scene, and the one right answer."""

    scene: Scene
    messages: list[Message]
    answer: str


def describing(rng: Random) -> Example:
    """A scene to be described from its picture."""
    scene = make_scene(rng)
    prompt = prompts()["describe"]
    user = [{"type": "image"}, {"type": "text", "text": prompt["user"]}]
    return Example(scene, [_says("system", prompt["system"]), _says("user", user)], dense(scene))


def fusing(rng: Random) -> Example:
    """A description and an alt-text to be joined."""
    scene = make_scene(rng)
    alt = write_alt(rng, rng.choices(list(LESSONS), list(LESSONS.values()))[0], scene, make_facts(rng, _ALIKE))
    return Example(scene, fuse_messages(dense(scene), alt.text), fused(scene, alt.facts))


def joining(rng: Random) -> Example:
    """The same with the picture at hand."""
    example = fusing(rng)
    return Example(example.scene, _with_picture(example.messages), example.answer)


def joining_messages(description: str, alt_text: str) -> list[Message]:
    """The conversation of joining with the picture at hand, up to the answer."""
    return _with_picture(fuse_messages(description, alt_text))


def fuse_messages(description: str, alt_text: str) -> list[Message]:
    """The fuser's conversation up to its answer."""
    prompt = prompts()["fuse"]
    clipped = alt_text[: prompts()["alt_characters"]]
    user = prompt["user"].replace("{dense}", description).replace("{alt}", clipped)
    return [_says("system", prompt["system"]), _says("user", user)]


def encode(tokenizer: Any, example: Example) -> tuple[list[int], list[int]]:
    """Token ids of a whole conversation, and its labels: only the answer and its end count."""
    question = tokenizer.apply_chat_template(example.messages, add_generation_prompt=True, tokenize=False)
    asked = tokenizer(question.replace(IMAGE, IMAGE * (SIDE // PATCH) ** 2)).input_ids
    answered = [*tokenizer(example.answer).input_ids, tokenizer.eos_token_id]
    return asked + answered, [IGNORED] * len(asked) + answered


def repetitions(tokenizer: Any, seed: int, size: int) -> Iterator[tuple[Any, Any]]:
    """Endless batches of random tokens said twice: the second time is to be copied from the first."""
    import torch

    dice = torch.Generator().manual_seed(seed)
    first = len(SPECIAL)
    tokens = len(tokenizer) - first
    while True:
        length = int(torch.randint(12, 64, (1,), generator=dice))
        alphabet = tokens ** torch.empty((size, 1)).uniform_(0.3, 1, generator=dice)  # few letters repeat themselves
        shuffled = first + torch.randperm(tokens, generator=dice)
        once = shuffled[(torch.rand((size, length), generator=dice) * alphabet).long()]
        ids = torch.cat([once, once], 1)
        labels = ids.clone()
        labels[:, : length + 1] = IGNORED
        yield ids, labels


def batches(
    tokenizer: Any, make: Callable[[Random], Example], rng: Random, size: int
) -> Iterator[tuple[Any, Any, list[Scene]]]:
    """Endless batches (ids, labels, scenes); examples of like length share a batch, so that little is padding."""
    import torch

    while True:
        drawn = [make(rng) for _ in range(size * 16)]
        pool = sorted(((*encode(tokenizer, example), example.scene) for example in drawn), key=_length)
        groups = [pool[at : at + size] for at in range(0, len(pool), size)]
        rng.shuffle(groups)
        for group in groups:
            longest = len(group[-1][0])
            ids = [row + [tokenizer.pad_token_id] * (longest - len(row)) for row, _, _ in group]
            labels = [row + [IGNORED] * (longest - len(row)) for _, row, _ in group]
            yield torch.tensor(ids), torch.tensor(labels), [scene for _, _, scene in group]


def _length(encoded: tuple[list[int], list[int], Scene]) -> int:
    return len(encoded[0])


def _with_picture(messages: list[Message]) -> list[Message]:
    system, user = messages
    return [system, _says("user", [{"type": "image"}, {"type": "text", "text": user["content"]}])]


def _says(role: str, content: Any) -> Message:
    return {"role": role, "content": content}
