"""Decides the fate of every row by queries, the same for every engine: rules, then duplicates of every kind."""

from dataclasses import dataclass
from typing import Any

from kale_tasks.ingest.engine import Engine, query
from kale_tasks.ingest.minhash import embedding_bits, text_bits
from kale_tasks.settings.ingest import Ingest

_ROUNDS = 50  # a chain of n links settles in about log n of them


@dataclass(frozen=True)
class Likeness:
    """A way of being nearly the same: rows equal in `same` are one, `kind` names its sketches."""

    kind: str
    same: str
    rule: str
    max_bits: int
    keep: int


def decide(engine: Engine, settings: Ingest) -> None:
    """From `rows`, `text`, `meaning` and `earlier` makes `fates`: for each row the rule that drops it, or NULL."""
    rules = settings.rules
    engine.keep("earlier", query("met"))
    engine.view("fates", query("judge", rules.semantic()))
    engine.view("fates", query("earlier"))
    for kind in ("uid", "url", "picture"):
        engine.view("fates", query("same", kind=kind, limit=(kind == "picture" and rules.max_picture_urls) or "NULL"))
    if rules.max_text_urls is not None:
        engine.view("fates", query("crowd", limit=rules.max_text_urls))
    engine.keep("fates", "SELECT * FROM fates")
    for likeness in likenesses(settings):
        _drop_near(engine, likeness)


def likenesses(settings: Ingest) -> list[Likeness]:
    """The ways that are switched on."""
    dedup, found = settings.dedup, list[Likeness]()
    if dedup.near:
        found.append(Likeness("text", "text_hash", "near_duplicate", text_bits(dedup.similarity), dedup.keep))
    if dedup.embedding_similarity is not None:
        found.append(Likeness("meaning", "id", "semantic_duplicate", embedding_bits(dedup.embedding_similarity), 1))
    return found


def _drop_near(engine: Engine, likeness: Likeness) -> None:
    names: dict[str, Any] = {"kind": likeness.kind, "same": likeness.same, "rule": likeness.rule}
    values = {"max_bits": likeness.max_bits, "keep": likeness.keep}
    engine.keep("bands", query("bands", **names))
    engine.keep("candidates", query("candidates"))
    engine.keep("links", query("links", values, **names))
    engine.keep("matches", query("matches", values, **names))
    for _ in range(_ROUNDS):
        if engine.count(query("unsettled")) == 0:
            break
        engine.keep("links", query("large_star"))
        engine.keep("links", query("small_star"))
    engine.keep("fates", query("near", values, **names))
