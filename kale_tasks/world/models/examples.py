"""Endless training examples for the tiny models: conversations of which only the answer carries loss."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from kale_tasks.distill.batches import IGNORED, pad_rows
from kale_tasks.world.alttext import write_alt
from kale_tasks.world.describe import dense, fused
from kale_tasks.world.draw import SIDE
from kale_tasks.world.models.tokenizer import IMAGE, PATCH, SPECIAL, prompts
from kale_tasks.world.scene import Scene, make_facts, make_scene

# Alt-texts of each kind in 100 examples. Rare and difficult kinds are more frequent than on the web.
ALT_KINDS = {
    "full": 22, "partial": 32, "plain": 3, "generic": 5, "spam": 3, "foreign": 3, "strange": 2, "entities": 6,
    "emoji": 4, "wrong": 8, "pii": 4, "injection": 4, "mojibake": 1, "long": 3,
}  # fmt: skip
_ALIKE = 0.5  # share of names that resemble another name of their example, again more than on the web
_POOL_BATCHES = 16
Message = dict[str, Any]


@dataclass(frozen=True)
class SceneExample:
    """A conversation about a scene up to the answer, and the only correct answer."""

    scene: Scene
    messages: list[Message]
    answer: str


def describe_example(rng: Random) -> SceneExample:
    """Draw a scene that is to be described from its image."""
    scene = make_scene(rng)
    prompt = prompts()["describe"]
    user = [{"type": "image"}, {"type": "text", "text": prompt["user"]}]
    return SceneExample(scene, [_message("system", prompt["system"]), _message("user", user)], dense(scene))


def fuse_example(rng: Random) -> SceneExample:
    """Draw a description and an alt-text that are to be joined."""
    scene = make_scene(rng)
    alt = write_alt(rng, rng.choices(list(ALT_KINDS), list(ALT_KINDS.values()))[0], scene, make_facts(rng, _ALIKE))
    return SceneExample(scene, fuse_messages(dense(scene), alt.text), fused(scene, alt.facts))


def fuse_with_image_example(rng: Random) -> SceneExample:
    """Draw a description and an alt-text that are to be joined with the image present."""
    example = fuse_example(rng)
    return SceneExample(example.scene, _with_image(example.messages), example.answer)


def fuse_messages(description: str, alt_text: str, with_image: bool = False) -> list[Message]:
    """Return the conversation in which a description and an alt-text are to be joined, up to the answer."""
    prompt = prompts()["fuse"]
    clipped = alt_text[: prompts()["alt_characters"]]
    user = prompt["user"].replace("{dense}", description).replace("{alt}", clipped)
    messages = [_message("system", prompt["system"]), _message("user", user)]
    return _with_image(messages) if with_image else messages


def encode(tokenizer: Any, example: SceneExample) -> tuple[list[int], list[int]]:
    """Return token ids of a whole conversation and its labels, which are IGNORED before the answer."""
    text = tokenizer.apply_chat_template(example.messages, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(text.replace(IMAGE, IMAGE * (SIDE // PATCH) ** 2)).input_ids
    answer = [*tokenizer(example.answer).input_ids, tokenizer.eos_token_id]
    return prompt + answer, [IGNORED] * len(prompt) + answer


def copy_batches(tokenizer: Any, seed: int, size: int) -> Iterator[tuple[Any, Any]]:
    """Yield endless batches (ids, labels) of random tokens that occur twice; the second time is to be predicted."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    first = len(SPECIAL)
    tokens = len(tokenizer) - first
    while True:
        length = int(torch.randint(12, 64, (1,), generator=generator))
        # A row draws from few or many tokens: with few of them, they repeat.
        alphabet = tokens ** torch.empty((size, 1)).uniform_(0.3, 1, generator=generator)
        shuffled = first + torch.randperm(tokens, generator=generator)
        once = shuffled[(torch.rand((size, length), generator=generator) * alphabet).long()]
        ids = torch.cat([once, once], 1)
        labels = ids.clone()
        labels[:, : length + 1] = IGNORED
        yield ids, labels


def example_batches(
    tokenizer: Any, make: Callable[[Random], SceneExample], rng: Random, size: int
) -> Iterator[tuple[Any, Any, list[Scene]]]:
    """Yield endless batches (ids, labels, scenes). Examples of similar length share a batch, to limit padding."""
    while True:
        drawn = [make(rng) for _ in range(size * _POOL_BATCHES)]
        pool = sorted(((*encode(tokenizer, example), example.scene) for example in drawn), key=_length)
        batches = [pool[at : at + size] for at in range(0, len(pool), size)]
        rng.shuffle(batches)
        for batch in batches:
            ids, labels, scenes = zip(*batch, strict=True)
            yield pad_rows(ids, tokenizer.pad_token_id), pad_rows(labels, IGNORED), list(scenes)


def _length(encoded: tuple[list[int], list[int], Scene]) -> int:
    return len(encoded[0])


def _with_image(messages: list[Message]) -> list[Message]:
    system, user = messages
    return [system, _message("user", [{"type": "image"}, {"type": "text", "text": user["content"]}])]


def _message(role: str, content: Any) -> Message:
    return {"role": role, "content": content}
