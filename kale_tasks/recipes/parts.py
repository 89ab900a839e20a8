"""The parts of a recipe: models, prompts, sampling, cleaning, the five kinds of passes, and the student's lessons."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from kale_tasks.lake.hashing import short_sha256
from kale_tasks.models.locate import split_source
from kale_tasks.recipes.conditions import condition_reads
from kale_tasks.recipes.slots import SlotValue, fill, slots
from kale_tasks.settings.section import Section, neutral
from kale_tasks.text.taming import tame

Message = dict[str, Any]


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


class _Prompted(Section):
    """Fields of what has a prompt: `system` and `user`, or `prompt` with the name of a prompt of a model source."""

    prompt: Prompt
    sampling: Sampling
    clean: Clean = Clean()
    retries: int = neutral(0, "How often to ask again when cleaning leaves nothing.", default=1, ge=0)

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


class Pass(Section):
    """What all passes have: a name, and when they run."""

    verb: ClassVar[str]
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")

    def reads(self) -> Iterator[str]:
        """Yield every name that the pass reads: columns, and passes before it."""
        yield from ()


class AskPass(_Prompted, Pass):
    """Asks a model about each row, or about each item of a row."""

    verb: ClassVar[str] = "ask"
    ask: str = Field(description="Name of a model of the recipe.")
    image: Literal[True, False, "crop"] = neutral(
        False, "Show the image, or the part that the item covers.", default=False
    )
    for_each: str | None = neutral(
        None, "A pass whose texts are the items: one answer each, `{item}` in the prompt.", default=None
    )
    n: int = neutral(1, "Candidates: answers to the same prompt with different seeds.", default=1, ge=1, le=100)
    rounds: int = neutral(1, "Turns of one conversation; the answer is the last one.", default=1, ge=1, le=20)
    follow: str = neutral("", "What is said in each turn after the first.", default="")
    vary: dict[str, list[str | int]] = neutral(
        {}, "Slots that take one of these values, by a hash of the row.", default={}
    )
    parse: list[str] = neutral(
        [], "The answer must be a JSON object with these keys; it is kept as data.", default=[], alias="schema"
    )
    against: list[str] = neutral(
        [], "Ask again if the answer states facts that none of these columns and passes has.", default=[]
    )
    when: str | None = neutral(None, "Condition under which the model is asked.", default=None)
    otherwise: str | None = neutral(
        None, "Pass whose text is used if it is not, or if no answer is usable.", default=None
    )

    model_config = ConfigDict(populate_by_name=True)

    def reads(self) -> Iterator[str]:
        """Yield the names in the prompt, the condition and the fallback."""
        own = {*self.vary, *(["item"] if self.for_each else [])}
        yield from (slot.name for slot in slots(self.prompt.user) if slot.name not in own)
        yield from condition_reads(self.when) if self.when else ()
        yield from self.against
        yield from filter(None, (self.otherwise, self.for_each))

    @property
    def describes(self) -> bool:
        """Whether it makes one plain text about the whole image."""
        return self.image is True and not (self.for_each or self.parse or self.when)


class ExpertPass(Pass):
    """Looks values up in a table, or lets a small model find them. Further fields are options of the expert."""

    verb: ClassVar[str] = "expert"
    model_config = ConfigDict(extra="allow")
    expert: str

    @property
    def options(self) -> dict[str, Any]:
        """The options of the expert."""
        return dict(self.__pydantic_extra__ or {})

    def semantic(self) -> dict[str, Any]:
        """Return the fields that change its values; its options are among them."""
        return {**super().semantic(), **self.options}


class ScorePass(Pass):
    """Rates how well texts fit the image, or another text."""

    verb: ClassVar[str] = "score"
    score: list[str] = Field(min_length=1, description="Passes whose texts are rated.")
    by: str = Field(description="A scorer.")
    against: str = neutral(
        "image", "The image, or a column or pass whose first text is compared with.", default="image"
    )
    options: dict[str, Any] = neutral({}, "Options of the scorer.", default={})

    def reads(self) -> Iterator[str]:
        """Yield the texts that are rated, and what they are compared with."""
        yield from self.score
        yield from [self.against] if self.against != "image" else ()


class PickPass(Pass):
    """Chooses among texts: the best by score, those above a threshold, or one by weights; or names their bin."""

    verb: ClassVar[str] = "pick"
    pick: list[str] = Field(min_length=1, description="Passes to choose from.")
    of: str | None = neutral(None, "Score pass to choose by.", default=None)
    best: int | None = neutral(None, "Keep this many texts, the best first.", default=None, ge=1)
    least: float | None = neutral(None, "Keep only texts with at least this score.", default=None)
    distinct: float | None = neutral(
        None, "Skip texts that share more than this part of their words with a kept one.", default=None, gt=0, le=1
    )
    bins: list[float] = neutral(
        [], "Write the number of the bin of the best score, between these ascending borders.", default=[]
    )
    mix: dict[str, float] = neutral({}, "Weights by pass: one pass is chosen by a hash of the row.", default={})
    otherwise: str | None = neutral(None, "Pass whose text is used if nothing is left.", default=None)

    def reads(self) -> Iterator[str]:
        """Yield the texts, their scores and the fallback."""
        yield from self.pick
        yield from filter(None, (self.of, self.otherwise))

    @model_validator(mode="after")
    def _has_a_way(self) -> "PickPass":
        if self.mix and (self.of or self.best or self.bins or self.least is not None):
            raise ValueError("`mix` chooses by weights: `of`, `best`, `least` and `bins` have no effect beside it")
        if not self.mix and self.of is None:
            raise ValueError("`pick` needs `of`, the score pass to choose by, or `mix`")
        if self.mix.keys() - set(self.pick):
            raise ValueError("`mix` may only name passes of `pick`")
        return self


class VerifyPass(Pass):
    """Looks for each fact of a text in its sources; cuts what none supports, or falls back to another pass."""

    verb: ClassVar[str] = "verify"
    verify: str
    against: list[str] = Field(min_length=1)
    allowed: int | None = neutral(
        None, "Most facts that no source may support; null: only count them.", default=None, ge=0
    )
    otherwise: str = neutral(
        "cut", "Above it: `cut` the sentences that state them, or the pass to use instead.", default="cut"
    )

    def reads(self) -> Iterator[str]:
        """Yield the text, its sources and the fallback."""
        yield self.verify
        yield from self.against
        yield from [self.otherwise] if self.otherwise != "cut" else ()


class Lesson(Section):
    """An answer that the student learns, and the prompt with which it learns it."""

    weight: float = Field(gt=0)
    answer: str = Field(description="Pass whose text is the answer.")
    system: str | None = neutral(None, "Other than the student's.", default=None)
    user: str | None = neutral(None, "Other than the student's.", default=None)
    without: list[str] = neutral([], "Slots that are left empty, so that the student can do without them.", default=[])


class Student(_Prompted):
    """The student: the prompt with which it captions stage 2, and its lessons."""

    dtype: Literal["float32", "bfloat16", "float16"]
    context: int = Field(ge=16)
    image_tokens: int = neutral(0, default=0, ge=0)
    lessons: list[Lesson] = Field(min_length=1)

    def lesson_prompt(self, lesson: Lesson) -> Prompt:
        """The prompt of a lesson."""
        changed = {name: value for name in ("system", "user") if (value := getattr(lesson, name)) is not None}
        return self.prompt.model_copy(update=changed)


AnyPass = AskPass | ExpertPass | ScorePass | PickPass | VerifyPass
PASSES: dict[str, type[AnyPass]] = {cls.verb: cls for cls in (AskPass, ExpertPass, ScorePass, PickPass, VerifyPass)}
