"""The kinds of passes of a recipe, by their verbs."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from kale_tasks.recipes.conditions import condition_reads
from kale_tasks.recipes.parts import Prompted
from kale_tasks.recipes.slots import slots
from kale_tasks.settings.section import Section, neutral

CHOICE = "choice"  # the key of a judge's answer
CUT, LIST = "cut", "list"  # what `verify` can do with what is unsupported, besides naming another pass
RULES_ONLY = "rules"
UNSUPPORTED = "unsupported"  # the key of a judge's answer


class Pass(Section):
    """What all passes have: a name, and when they run."""

    verb: ClassVar[str]
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")

    def reads(self) -> Iterator[str]:
        """Yield every name that the pass reads: columns, and passes before it."""
        yield from ()


class AskPass(Prompted, Pass):
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
    within: float | None = neutral(
        None, "How far the length may be from the slot {words} of `vary`, as a share; else it is asked again.",
        default=None, gt=0,
    )  # fmt: skip
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
    judge: str | None = neutral(
        None, "A pass with `schema: [choice, ...]`, which chooses: 1 is the first candidate.", default=None
    )
    join: str | None = neutral(None, "Write the chosen texts as one, with this between them.", default=None)
    otherwise: str | None = neutral(None, "Pass whose text is used if nothing is left.", default=None)

    def reads(self) -> Iterator[str]:
        """Yield the texts, their scores and the fallback."""
        yield from self.pick
        yield from filter(None, (self.of, self.judge, self.otherwise))

    @model_validator(mode="after")
    def _has_a_way(self) -> "PickPass":
        if (self.mix or self.judge) and (self.of or self.best or self.bins or self.least is not None):
            raise ValueError("`mix` and `judge` choose: `of`, `best`, `least` and `bins` have no effect beside them")
        if self.mix and self.judge:
            raise ValueError("give either `mix` or `judge`")
        if not (self.mix or self.judge or self.of) and self.join is None:
            raise ValueError("`pick` needs `of`, the score pass to choose by, `judge`, `mix`, or `join` to take all")
        if self.mix.keys() - set(self.pick):
            raise ValueError("`mix` may only name passes of `pick`")
        return self


class VerifyPass(Pass):
    """Looks for what a text states in its sources; cuts what none supports, falls back to another pass, or names it."""

    verb: ClassVar[str] = "verify"
    verify: str
    against: list[str] = Field(min_length=1)
    allowed: int | None = neutral(
        None, "Most facts, sentences and claims that no source may support; null: only count them.", default=None, ge=0
    )
    otherwise: str = neutral(
        CUT,
        "Above it: `cut` the sentences that state them, the pass to use instead, or `list` them, one text each.",
        default=CUT,
    )
    by: str = neutral(
        RULES_ONLY, "A scorer that rates each sentence against its sources, besides the rules.", default=RULES_ONLY
    )
    least: float | None = neutral(None, "The score that a sentence needs.", default=None)
    options: dict[str, Any] = neutral({}, "Options of the scorer.", default={})
    judge: str | None = neutral(
        None, "A pass with `schema: [unsupported]`, which names the claims that are not supported.", default=None
    )
    words: list[str] = neutral(
        [], "Words that a source must have if the text has them, such as names of objects.", default=[]
    )
    facts: bool = neutral(True, "Whether names and numbers are looked for.", default=True)

    def reads(self) -> Iterator[str]:
        """Yield the text, its sources, the judge and the fallback."""
        yield self.verify
        yield from self.against
        yield from [self.judge] if self.judge else ()
        yield from [self.otherwise] if self.otherwise not in (CUT, LIST) else ()

    @model_validator(mode="after")
    def _rates_with_a_limit(self) -> "VerifyPass":
        if (self.by != RULES_ONLY) != (self.least is not None):
            raise ValueError("`by` needs `least`, the score that a sentence needs, and the other way round")
        return self


AnyPass = AskPass | ExpertPass | ScorePass | PickPass | VerifyPass
PASSES: dict[str, type[AnyPass]] = {cls.verb: cls for cls in (AskPass, ExpertPass, ScorePass, PickPass, VerifyPass)}
