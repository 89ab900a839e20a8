"""Training examples: a caption as token ids, prompt and answer, in the chat format of the model."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from PIL import Image

from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.model import is_fixed_size
from kale_tasks.lake.shards import Span
from kale_tasks.recipes.parts import ANSWER_WORDS, Lesson
from kale_tasks.recipes.recipe import Recipe

_Size = tuple[int, int]  # width and height of an image
_SIZES = 1 << 16  # that are remembered


class TrainingExample(NamedTuple):
    """Token ids of a prompt, with placeholders for its image, and of the answer to be learned."""

    prompt: list[int]
    answer: list[int]
    span: Span
    sample: CaptionSample
    text: str = ""  # the prompt, as the processor of an existing model takes it
    image_tokens: int = 0  # of those of the prompt

    @property
    def tokens(self) -> int:
        """The number of tokens of prompt and answer."""
        return len(self.prompt) + len(self.answer)


class ExampleEncoder:
    """Encodes captions with a model's processor and the prompts of a recipe."""

    def __init__(self, processor: Any, recipe: Recipe) -> None:
        self._processor, self._recipe = processor, recipe
        self._tokenizer = processor.tokenizer
        self._image_token = self._tokenizer.convert_tokens_to_ids(processor.image_token)
        self._image_tokens = _image_token_counter(processor)

    def encode(self, sample: CaptionSample, lesson: Lesson) -> TrainingExample | None:
        """Encode a caption as one of the lessons of the recipe.

        Returns None if the answer or a text that the prompt shows is empty, if one has the image token as text, or if
        the model takes no image of this shape.
        """
        values = self._values(sample, lesson)
        answer = self._ids(self._answer(sample, lesson.answer).strip())
        if values is None or not answer or self._image_token in answer:
            return None
        messages = self._recipe.student.lesson_prompt(lesson).messages(values, image=True)
        text = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids, tokens = self._ids(text), self._image_tokens(sample.size)
        if tokens is None or ids.count(self._image_token) != 1:
            return None
        at = ids.index(self._image_token)
        prompt = [*ids[:at], *[self._image_token] * tokens, *ids[at + 1 :]]
        return TrainingExample(prompt, [*answer, self._tokenizer.eos_token_id], sample.span, sample, text, tokens)

    def _answer(self, sample: CaptionSample, name: str) -> str:
        """The text of a pass: the caption, the description, or one that captions carry beside them."""
        if name == self._recipe.caption:
            return sample.caption
        return sample.dense if name == self._recipe.dense else sample.also.get(name, "")

    def _values(self, sample: CaptionSample, lesson: Lesson) -> dict[str, str] | None:
        """What the slots of a lesson's prompt are filled with; None if a pass that it shows wrote nothing."""
        words = len(self._answer(sample, lesson.answer).split())
        values = {"alt": "" if "alt" in lesson.without else sample.alt, ANSWER_WORDS: str(max(10, round(words, -1)))}
        shown = self._recipe.student.lesson_prompt(lesson).reads - values.keys()
        texts = {name: self._answer(sample, name) for name in shown}
        return {**values, **texts} if all(texts.values()) else None

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)


def _image_token_counter(processor: Any) -> Callable[[_Size], int | None]:
    """Return a function that counts the tokens of an image by its size; None if the processor takes no such shape."""
    if is_fixed_size(processor):
        size = processor.image_processor.size
        patches = int((size["height"] // processor.patch_size) * (size["width"] // processor.patch_size))
        return lambda _: patches

    @lru_cache(_SIZES)
    def count(size: _Size) -> int | None:
        blank = Image.new("RGB", size)
        try:
            made = processor(
                text=[processor.image_token], images=[[blank]], add_special_tokens=False, return_tensors="pt"
            )
        except ValueError:  # of processors that refuse very long and narrow images
            return None
        return len(made["input_ids"][0])

    return count
