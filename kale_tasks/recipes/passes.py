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
    """What all passes have: a name, and the rows that they see."""

    verb: ClassVar[str]
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    among: str | None = neutral(
        None, "A pass: only rows for which it has a text are seen, such as those of a selection.", default=None
    )

    def reads(self) -> Iterator[str]:
        """Yield every name that its texts are made of: columns, and passes before it."""
        yield from ()

    def needs(self) -> Iterator[str]:
        """Yield every name that the pass reads, for its texts or to know its rows."""
        yield from self.reads()
        yield from [self.among] if self.among else ()


class _WithOptions(Pass):
    """What takes further fields as options of a part of a registry."""

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The options of the part."""
        return dict(self.__pydantic_extra__ or {})

    def semantic(self) -> dict[str, Any]:
        """Return the fields that change its rows; its options are among them."""
        return {**super().semantic(), **self.options}


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


class ExpertPass(_WithOptions):
    """Looks values up in a table, or lets a small model find them. Further fields are options of the expert."""

    verb: ClassVar[str] = "expert"
    expert: str
    pii: Literal["mask", "drop"] | None = neutral(
        None, "What becomes of a value with personal data: it is masked, or left out; null: nothing.", default=None
    )


class EmbedPass(_WithOptions):
    """Encodes the image, or a text, as a vector. Further fields are options of the embedder."""

    verb: ClassVar[str] = "embed"
    embed: str = Field(description="An embedder.")
    text: str | None = neutral(
        None, "Of an embedder of texts: the column or pass whose first text is encoded.", default=None
    )

    def reads(self) -> Iterator[str]:
        """Yield the text that is encoded."""
        yield from [self.text] if self.text else ()


class SelectPass(Pass):
    """Chooses rows by their vectors: without copies and evaluation images, and a few of each cluster."""

    verb: ClassVar[str] = "select"
    select: str = Field(description="An `embed` pass.")
    copies: Literal["flag", "drop"] | None = neutral(
        None, "What becomes of near copies of an earlier row; null: they are not looked for.", default=None
    )
    earlier: bool = neutral(False, "Look for copies among the rows that earlier keys kept, too.", default=False)
    evaluation: Literal["flag", "drop"] | None = neutral(
        None, "What becomes of images of the evaluation set `images.evaluation` and of their copies.", default=None
    )
    cosine: float | None = neutral(
        None, "Vectors with at least this cosine are copies; null: as the embedder says.", default=None, gt=0, lt=1
    )
    clusters: int | None = neutral(None, "Clusters of a key; null: the square root of its rows.", default=None, ge=1)
    best: int | None = neutral(None, "Keep this many rows of each cluster.", default=None, ge=1)
    share: float | None = neutral(
        None, "Keep this share of the rows, of each cluster as many as of any other.", default=None, gt=0, lt=1
    )
    keep: Literal["typical", "diverse"] = neutral(
        "typical",
        "Which rows of a cluster: those next to its centre, or some at all distances from it.",
        default="typical",
    )

    def reads(self) -> Iterator[str]:
        """Yield the vectors."""
        yield self.select

    @model_validator(mode="after")
    def _has_an_effect(self) -> "SelectPass":
        if not (self.copies or self.evaluation or self.best or self.share):
            raise ValueError("`select` needs `copies`, `evaluation`, `best` or `share`: without them it keeps all rows")
        if self.among:
            raise ValueError("`select` compares all rows that have a vector: give `among` to the `embed` pass")
        if self.best and self.share:
            raise ValueError("give `best`, rows of each cluster, or `share`, a part of all rows")
        if self.earlier and not self.copies:
            raise ValueError("`earlier` says where copies are looked for: give `copies`, too")
        clustered = self.best or self.share
        if not clustered and (self.clusters or self.keep != "typical"):
            raise ValueError("`clusters` and `keep` need `best` or `share`")
        return self


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


AnyPass = AskPass | ExpertPass | EmbedPass | SelectPass | ScorePass | PickPass | VerifyPass
_KINDS: tuple[type[AnyPass], ...] = (AskPass, ExpertPass, EmbedPass, SelectPass, ScorePass, PickPass, VerifyPass)
PASSES: dict[str, type[AnyPass]] = {cls.verb: cls for cls in _KINDS}
