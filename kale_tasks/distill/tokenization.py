"""Words a caption as a lesson: the recipe's prompt in the model's own chat format, and the answer to be learned."""

from typing import Any

from kale_tasks.distill.dataset import Taught
from kale_tasks.distill.sampler import Lesson
from kale_tasks.recipes.recipe import Message, Recipe


class Wording:
    """Turns captions into token ids with a model's processor."""

    def __init__(self, processor: Any, recipe: Recipe) -> None:
        self._chat, self._recipe = processor, recipe
        self._tokenizer = processor.tokenizer
        self._image = self._tokenizer.convert_tokens_to_ids(processor.image_token)
        size = processor.image_processor.size
        self._places = (size["height"] // processor.patch_size) * (size["width"] // processor.patch_size)

    def lesson(self, taught: Taught, kind: str) -> Lesson | None:
        """One lesson of a kind of the mixture; None when this caption cannot give one."""
        question = self._question(self._messages(taught, kind))
        answer = self._ids((taught.caption if kind == "fused" else taught.dense).strip())
        if question is None or not answer or self._image in answer:
            return None
        return Lesson(question, [*answer, self._tokenizer.eos_token_id], taught.span, taught)

    def text(self, ids: list[int]) -> str:
        """Generated ids as text."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _messages(self, taught: Taught, kind: str) -> list[Message]:
        if kind == "dense":
            return self._recipe.dense.prompt.messages(alt=taught.alt, image=True)
        return self._recipe.student.prompt.messages(alt=taught.alt if kind == "fused" else "", image=True)

    def _question(self, messages: list[Message]) -> list[int] | None:
        text = self._chat.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = self._ids(text)
        if ids.count(self._image) != 1:
            return None  # a text that speaks the model's own marks
        at = ids.index(self._image)
        return [*ids[:at], *[self._image] * self._places, *ids[at + 1 :]]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)
