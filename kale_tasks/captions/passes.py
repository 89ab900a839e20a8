"""Passes of recipes as steps: what each of them depends on, and the texts that earlier passes wrote for a row.

A pass is identified by its name, its block in the recipe and the passes it reads, not by its recipe. Recipes that have
a pass in common share its texts. Its account counts texts: those that it was to make, kept, dropped and quarantined.
"""

import json
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa

from kale_tasks.captions.chunk import ChunkRows
from kale_tasks.captions.rows import Row
from kale_tasks.contract.step import Input, Step, committed_input, row_chunks
from kale_tasks.contract.types import Chunk, Part
from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import ORDERS, open_embedder, open_expert, open_scorer
from kale_tasks.lake.hashing import in_share, short_sha256
from kale_tasks.lake.parts import PartMeta
from kale_tasks.lake.schemas import TABLES
from kale_tasks.lake.tables import Lake
from kale_tasks.models.locate import pinned
from kale_tasks.recipes.passes import RULES_ONLY, AnyPass, AskPass, EmbedPass, ExpertPass, ScorePass, VerifyPass
from kale_tasks.recipes.recipe import STAGE2, Recipe
from kale_tasks.recipes.slots import COLUMNS, SlotText, SlotValue
from kale_tasks.runner.run import Run
from kale_tasks.settings import Settings
from kale_tasks.text.alttext import ALT_AS_IS, PromptAlt, prepare_alt
from kale_tasks.text.words import RULES

# Of a text, as its maker filled it.
PROVENANCE = ("engine", "prompt_hash", "tokens_in", "tokens_out", "finish_reason", "confidence")
# Flags of a text that strangers may have had a hand in, or of a row that a selection kept in spite of what it is; texts
# that are made of it have them too.
_HANDED_ON = ("alt_orders", "context_orders", "text_orders", "injected", "near_copy", "evaluation_image")
_READ = ["uid", "item", "n", "text", "score", "data", "models", "flags", *PROVENANCE]


@dataclass
class RowTexts:
    """A row that a pass works on: its image, its alt-text, and the texts of earlier passes by name."""

    image: Row
    pair: Row | None
    alt: PromptAlt
    texts: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    orders: list[str] = field(default_factory=list)  # instructions to a model that were cut off what experts read
    other: PromptAlt = field(default_factory=lambda: prepare_alt(None))  # alt-text of another row, for placebos

    @property
    def uid(self) -> str:
        """The uid of the pair."""
        return str(self.image["uid"])

    @cached_property
    def values(self) -> dict[str, SlotValue]:
        """What slots and conditions read."""
        texts = {name: [SlotText(row["text"], row["score"]) for row in rows] for name, rows in self.texts.items()}
        return {**{name: column.text for name, column in self.columns.items()}, **texts}

    @cached_property
    def columns(self) -> dict[str, PromptAlt]:
        """The columns that passes can read, as prompts use them."""
        return {"alt": self.alt, "context": self.context, "other_alt": self.other}

    def of(self, name: str) -> list[Row]:
        """The texts of a pass, or a column as a text unless it says nothing."""
        if name not in COLUMNS:
            return self.texts[name]
        column = self.columns[name]
        flags = [*column.instruction_flags, ALT_AS_IS] if name == "alt" else []
        return [{"text": column.useful, "item": "", "n": 0, "flags": flags, "models": []}] if column.useful else []

    @cached_property
    def context(self) -> PromptAlt:
        """The text around the image on its page, as prompts use it; empty if it is not known."""
        return prepare_alt((self.pair or {}).get("context"))

    def cut(self, names: Collection[str]) -> str:
        """The instructions that were cut off the columns among the names, and off what experts read."""
        cut = [column.cut for name, column in self.columns.items() if name in names]
        return " ".join(filter(None, [*cut, *self.orders]))

    def order_flags(self, names: Collection[str]) -> list[str]:
        """The flags of a text that was made from something with instructions to a model in it, now or before."""
        found = {
            "alt_orders": ("alt" in names and self.alt.cut) or ("other_alt" in names and self.other.cut),
            "context_orders": "context" in names and self.context.cut,
        }
        own = [flag for flag, cut in {**found, "text_orders": self.orders}.items() if cut]
        texts = [text for name in names if name not in COLUMNS for text in self.texts.get(name, ())]
        return list(dict.fromkeys([*own, *(flag for text in texts for flag in handed_on(text))]))

    def sources(self, names: Sequence[str]) -> tuple[str, str]:
        """The texts of the named passes joined, and the alt-text if it is among the names: what facts may come from."""
        found = [one["text"] for name in names if name not in COLUMNS for one in self.texts[name]]
        found += [self.columns[name].text for name in names if name in COLUMNS and name != "alt"]
        return "\n".join(found), self.alt.text if "alt" in names else ""

    def first(self, name: str) -> str:
        """The first text of a pass, or the alt-text; empty if there is none."""
        if name in COLUMNS:
            return self.columns[name].text
        return self.texts[name][0]["text"] if self.texts[name] else ""


def handed_on(text: Row) -> list[str]:
    """The flags of a text that texts made of it have too."""
    return [flag for flag in text["flags"] if flag in _HANDED_ON]


def carried(text: Row) -> Row:
    """The columns that tell how a text was made; they stay when another pass takes it over."""
    return {name: text.get(name) for name in PROVENANCE} | {name: text.get(name) or [] for name in ("models", "flags")}


def pass_id(recipe: Recipe, name: str) -> str:
    """Identify a pass: equal for passes of equal name and block that read the same."""
    one = recipe.find(name)
    known: dict[str, Any] = {} if recipe.split == "stage1" else {"split": recipe.split}
    known |= {} if recipe.share == 1 else {"share": recipe.share}
    known |= {"block": one.semantic(), "reads": [_read_id(recipe, read) for read in one.needs()]}
    if isinstance(one, AskPass):
        spec = recipe.models[one.ask]
        known["block"] = {**known["block"], "ask": {**spec.semantic(), "model": pinned(spec.model)}}
    else:
        try:
            known |= _identity(one)
        except BadConfig as error:
            raise BadConfig(f"The pass '{name}' of the recipe '{recipe.name}': {error}") from error
    return f"{name}-{short_sha256(json.dumps(known, sort_keys=True, ensure_ascii=False), 12)}"


def split_of(recipe: Recipe) -> dict[str, str]:
    """What tells checks that the images of a run are those of stage 2."""
    return {"split": recipe.split} if recipe.split == STAGE2 else {}


def _identity(one: AnyPass) -> dict[str, str]:
    """What the results of an expert, an embedder or a scorer depend on besides its options."""
    if isinstance(one, ExpertPass):
        return {"identity": open_expert(one.expert, one.options).identity}
    if isinstance(one, EmbedPass):
        return {"identity": open_embedder(one.embed, one.options).identity}
    if isinstance(one, ScorePass | VerifyPass) and one.by != RULES_ONLY:
        return {"identity": open_scorer(one.by, one.options).identity}
    return {}


def _read_id(recipe: Recipe, read: str) -> str:
    return read if read in COLUMNS else pass_id(recipe, read)


def read_texts(
    work: ChunkRows,
    number: int,
    ids: Mapping[str, str],
    *,
    of: Recipe,
    with_pairs: bool,
    read_off: Collection[str] = (),
) -> tuple[int, Counter[str], list[RowTexts]]:
    """Read the images of a part that a recipe is for, with the texts of some passes (id by name) and their pairs.

    Texts of the passes `read_off` were read off images, where strangers wrote them; what was cut off these is noted.
    Returns the number of rows read, those dropped by rule, and those left.
    """
    read, dropped, images = work.image_rows(number, {of.split: ""}, f"not_{of.split}")
    if of.share < 1:
        sampled = [image for image in images if in_share(f"sampled {image['uid']}", of.share)]
        dropped["not_sampled"] += len(images) - len(sampled)
        images = sampled
    uids = [image["uid"] for image in images]
    pairs = work.pairs_of(uids) if with_pairs else {}
    found = {
        image["uid"]: RowTexts(image, pair := pairs.get(image["uid"]), prepare_alt((pair or {}).get("alt_text")))
        for image in images
    }
    given = list(found.values())
    for one, other in zip(given, given[1:] + given[:1], strict=True):
        one.other = other.alt if other is not one else one.other
    for name, id_ in ids.items() if uids else ():
        for text in work.run.rows(id_).between(uids[0], uids[-1], _READ).to_pylist():
            if row := found.get(text["uid"]):
                if name in read_off and ORDERS in text["flags"]:
                    row.orders.append(json.loads(text["data"])["read"][len(text["text"]) :])
                row.texts[name].append(text)
    return read, dropped, list(found.values())


class PassStep(Step):
    """One pass of a recipe on a key: reads images, pairs and earlier passes, writes a partition of `texts`."""

    table: ClassVar[str] = "texts"

    def __init__(self, recipe: Recipe, name: str) -> None:
        self.recipe, self.one = recipe, recipe.find(name)
        self.name = pass_id(recipe, name)  # type: ignore[misc]
        self.slice = {"pass": self.name}  # type: ignore[misc]
        self._reads = list(dict.fromkeys(self.one.needs()))
        self._ids = {read: pass_id(recipe, read) for read in self._passes()}
        self._with_pairs = isinstance(self.one, ExpertPass) or any(read in COLUMNS for read in self._reads)

    def config(self, settings: Settings) -> Mapping[str, Any]:
        engine = {"engine": settings.caption.engine} if isinstance(self.one, AskPass) else {}
        rules = {"rules": RULES} if self._judges else {}
        known = {"pass": self.name, "limit": settings.limit, **split_of(self.recipe)}
        return {**known, **engine, **rules, **settings.parts.semantic()}

    def inputs(self, lake: Lake, settings: Settings, key: str) -> Mapping[str, Input]:
        tables = ["images", *(["pairs"] if self._with_pairs else [])]
        texts = {one: committed_input(lake, "texts", key, {"pass": one}) for one in self._ids.values()}
        return {**{table: committed_input(lake, table, key) for table in tables}, **texts}

    def chunks(self, run: Run) -> Sequence[Chunk]:
        return row_chunks(run.settings, run.rows("images").count)

    def rows(self, work: ChunkRows, number: int) -> tuple[Counter[str], list[RowTexts]]:
        """Read the rows of a part; those of other splits, without an image or not chosen are dropped."""
        of_experts = {one.name for one in self.recipe.passes if isinstance(one, ExpertPass)}
        _, dropped, found = read_texts(
            work,
            number,
            self._ids,
            of=self.recipe,
            with_pairs=self._with_pairs,
            read_off=of_experts & self._ids.keys(),
        )
        if among := self.one.among:
            chosen = [row for row in found if row.texts[among]]
            dropped["not_chosen"] += len(found) - len(chosen)
            found = chosen
        return dropped, found

    def text_row(self, key: str, uid: str, text: str, **more: Any) -> Row:
        """Make a row of `texts`."""
        return {
            "uid": uid,
            "key": key,
            "pass": self.name,
            "item": "",
            "n": 0,
            "text": text,
            "flags": [],
            "models": [],
            **more,
        }

    @property
    def _judges(self) -> bool:
        """Whether texts depend on the rules about alt-text, facts and conditions."""
        by_rules = isinstance(self.one, VerifyPass) or (isinstance(self.one, AskPass) and self.one.against)
        return bool(by_rules) or any(read in COLUMNS for read in self._reads)

    def _passes(self) -> list[str]:
        return [name for name in self._reads if name not in COLUMNS]


class LocalPass(PassStep):
    """A pass that asks no engine: it makes the texts of a row from what is known of it."""

    def work(self, run: Run, chunk: Chunk, numbers: Sequence[int]) -> Iterator[Part | PartMeta]:
        work = ChunkRows(run, chunk)
        with self.ready():
            for number in numbers:
                dropped, rows = self.rows(work, number)
                made = self.make_texts(work, rows, dropped)
                table = pa.Table.from_pylist(made, schema=TABLES["texts"].arrow)
                yield Part(number, table, len(made) + dropped.total(), dropped)

    @abstractmethod
    def make_texts(self, work: ChunkRows, rows: Sequence[RowTexts], dropped: Counter[str]) -> list[Row]:
        """Make the texts of the rows of a part, and count what is dropped by rule."""

    @abstractmethod
    def ready(self) -> Any:
        """Return a context in which `make_texts` can be called."""
