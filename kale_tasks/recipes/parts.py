"""The parts of a recipe besides its passes: models, prompts, sampling, cleaning, and the student's lessons."""

import datetime
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from kale_tasks.lake.hashing import short_sha256
from kale_tasks.models.locate import split_source
from kale_tasks.recipes.slots import SlotValue, fill, slots
from kale_tasks.settings.section import Section, neutral
from kale_tasks.text.taming import tame

Message = dict[str, Any]
ANSWER_WORDS = "words"  # slot of a lesson's own prompt: about how many words the answer has


class Prompt(Section):
    """A prompt template. Slots such as `{alt}` are replaced once; braces in the inserted texts have no effect."""

    system: str = ""
    user: str
    alt_characters: int = Field(default=400, ge=0, description="Maximum length of the alt-text in the prompt.")

    @property
    def reads(self) -> set[str]:
        """The names that its slots read."""
        return {slot.name for slot in slots(self.user)}

    @property
    def hash(self) -> str:
        """A short hash of the template, stored with each caption."""
        text = json.dumps(self.semantic(), ensure_ascii=False, separators=(",", ":"))
        return short_sha256(text, 12)

    def messages(self, values: Mapping[str, SlotValue], *, image: bool) -> list[Message]:
        """Fill in the template for one row and return chat messages. The image, if any, precedes the text."""
        alt = values.get("alt", "")
        if alt and isinstance(alt, str):
            values = {**values, "alt": tame(alt)[: self.alt_characters]}
        user = fill(self.user, values)
        content: Any = [{"type": "image"}, {"type": "text", "text": user}] if image else user
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": content}]


class Sampling(Section):
    """Sampling parameters. Retries use `retry_temperature` and another seed."""

    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=0, ge=0)
    top_p: float = neutral(1, default=1, gt=0, le=1)
    retry_temperature: float = Field(default=0.7, ge=0)
    seed: int = neutral(0, "Added to the seed of each row.", default=0)


class Clean(Section):
    """Options of the cleaning rules."""

    intro: bool = neutral(False, "Remove openings such as 'The image shows'.", default=True)
    languages: list[str] = neutral([], "Allowed languages; empty: any.", default=["en"])
    min_words: int = neutral(0, default=4, ge=0)
    max_words: int = Field(default=250, ge=1)
    lexicon: list[str] = neutral([], "Additional phrases that reveal a leaked prompt.", default=[])
    pii: Literal["mask", "drop"] | None = neutral(
        None, "What becomes of an answer with personal data: it is masked, or refused; null: nothing.", default=None
    )


class ModelSpec(Section):
    """A model that passes ask."""

    model: str = Field(description="repo@revision, a folder, or source:NAME such as sample:teacher.")
    dtype: Literal["float32", "bfloat16", "float16"]
    context: int = Field(ge=16, description="Maximum tokens of prompt, image and answer together.")
    image_tokens: int = neutral(0, "Maximum tokens of one image; 0: a text-only model.", default=0, ge=0)
    image_side: int = neutral(0, "Scale larger images down to this many pixels; 0: never.", default=0, ge=0)
    thinking: bool | None = neutral(
        None, "Whether it thinks before it answers; null: as its template says.", default=None
    )
    vllm: dict[str, Any] = neutral({}, "Arguments of vLLM that change answers, such as quantization.", default={})


class Task(Section):
    """What an engine runs: a model, a prompt, and how its answers are treated."""

    model: str = Field(description="As in ModelSpec; empty: the promoted student.")
    dtype: Literal["float32", "bfloat16", "float16"]
    context: int
    image_tokens: int = neutral(0, default=0)
    image_side: int = neutral(0, default=0)
    thinking: bool | None = neutral(None, default=None)
    vllm: dict[str, Any] = neutral({}, default={})
    prompt: Prompt
    sampling: Sampling
    clean: Clean = Clean()
    retries: int = neutral(0, default=1)
    confidence: bool = neutral(False, default=False)


class Prompted(Section):
    """Fields of what has a prompt: `system` and `user`, or `prompt` with the name of a prompt of a model source."""

    prompt: Prompt
    sampling: Sampling
    clean: Clean = Clean()
    retries: int = neutral(0, "How often to ask again when cleaning leaves nothing.", default=1, ge=0)
    confidence: bool = neutral(False, "Keep the mean log-probability of the tokens.", default=False)

    @model_validator(mode="before")
    @classmethod
    def _gather_prompt(cls, block: Any) -> Any:
        if not isinstance(block, dict) or isinstance(block.get("prompt"), Prompt):
            return block
        own = {name: block[name] for name in ("system", "user", "alt_characters") if name in block}
        rest = {name: value for name, value in block.items() if name not in own}
        if "prompt" not in rest:
            return {**rest, "prompt": own} if own else rest
        if own or not isinstance(rest["prompt"], str):
            raise ValueError("give either `system` and `user`, or `prompt: source:NAME`")
        sourced = split_source(rest["prompt"])
        if sourced is None:
            raise ValueError(
                f"`prompt` takes a prompt of a model source, such as sample:describe, not '{rest['prompt']}'"
            )
        return {**rest, "prompt": sourced[0].prompt(sourced[1])}


class Lesson(Section):
    """An answer that the student learns, and the prompt with which it learns it."""

    weight: float = Field(gt=0)
    answer: str = Field(description="Pass whose text is the answer.")
    system: str | None = neutral(None, "Other than the student's.", default=None)
    user: str | None = neutral(
        None, "Other than the student's. It may also have slots of passes, and {words}: the length of the answer.",
        default=None,
    )  # fmt: skip
    without: list[str] = neutral([], "Slots that are left empty, so that the student can do without them.", default=[])


class Student(Prompted):
    """The student: the prompt with which it captions stage 2, and its lessons."""

    dtype: Literal["float32", "bfloat16", "float16"]
    context: int = Field(ge=16)
    image_tokens: int = neutral(0, default=0, ge=0)
    lessons: list[Lesson] = Field(min_length=1)
    sampled: float = neutral(
        0, "Share of the images of stage 2 that the passes caption, too, to see how the student does.", default=0, ge=0,
        le=1,
    )  # fmt: skip

    def lesson_prompt(self, lesson: Lesson) -> Prompt:
        """The prompt of a lesson."""
        changed = {name: value for name in ("system", "user") if (value := getattr(lesson, name)) is not None}
        return self.prompt.model_copy(update=changed)


class Verified(Section):
    """What `kale bench caption` measured of a model call: it says what hardware a recipe was tried on, and no more."""

    task: str = Field(description="The pass that asks the model, or `student`.")
    engine: str = Field(description="The engine and the version of what it runs.")
    device: str = Field(description="How many devices of which kind.")
    each_second: float = Field(gt=0, description="Requests, so images, a second.")
    date: datetime.date
