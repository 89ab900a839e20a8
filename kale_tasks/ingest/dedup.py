"""Decides by queries which rows are dropped: by row rules, then as duplicates in the key, then as lost to earlier keys.

What is decided within the key never depends on earlier keys. So the rows of a key follow from its landing files and
from what earlier keys keep, and only its kept and its lost rows have to be looked at when that changes.
"""

from dataclasses import dataclass

from kale_tasks.errors import BadData
from kale_tasks.ingest.engine import Engine, Query, Value, query
from kale_tasks.ingest.minhash import embedding_bits, text_bits
from kale_tasks.settings.ingest import Ingest

_MAX_ROUNDS = 50  # a chain of n links needs about log n


@dataclass(frozen=True)
class NearMatch:
    """A way in which rows can be near duplicates."""

    kind: str  # of the sketches that are compared, also the prefix of their columns
    exact: str  # rows equal in this column are compared only once
    rule: str  # under which near duplicates are dropped
    max_bits: int  # in which the sketches of near rows may differ
    keep: int  # rows of a cluster that stay


def decide(engine: Engine, settings: Ingest) -> None:
    """Make two tables: `decisions`, for each row the rule that drops it or NULL; `lost`, the entries lost by rows.

    Reads the tables `rows`, `text` and `meaning` of this key, and `earlier`, the index entries of earlier keys that
    share a hash with them.
    """
    rules = settings.rules
    engine.create_view("decisions", query("row_rules"))
    for kind in ("uid", "url", "picture"):
        values: dict[str, Value] = {
            "limit": rules.max_picture_urls if kind == "picture" else None,
            "placeholder_rule": f"placeholder_{kind}",
            "duplicate_rule": f"duplicate_{kind}",
        }
        engine.create_view("decisions", query("drop_exact", values, column=f"{kind}_hash"))
    if rules.max_text_urls is not None:
        engine.create_view("decisions", query("drop_shared_text", {"limit": rules.max_text_urls}))
    engine.create_table("decisions", Query("SELECT *, CAST(0 AS BIGINT) AS better FROM decisions"))
    engine.create_table("lost", query("lost_exact"))
    if settings.dedup.near and settings.dedup.policy != "off":
        _drop_copies(engine, settings)
    for match in near_matches(settings):
        _drop_near(engine, match)
    engine.create_table("lost", query("lost_first"))
    engine.create_table("decisions", query("drop_lost"))


def near_matches(settings: Ingest) -> list[NearMatch]:
    """Return the near matches that the settings enable."""
    dedup, found = settings.dedup, list[NearMatch]()
    if dedup.near and dedup.policy == "off":
        found.append(NearMatch("text", "text_hash", "near_duplicate", text_bits(dedup.similarity), dedup.keep))
    if dedup.embedding_similarity is not None:
        found.append(NearMatch("meaning", "id", "semantic_duplicate", embedding_bits(dedup.embedding_similarity), 1))
    return found


def _drop_copies(engine: Engine, settings: Ingest) -> None:
    dedup = settings.dedup
    values: dict[str, Value] = {"keep": dedup.keep, "other_pictures": int(dedup.other_pictures), "priority": 4}
    engine.create_table("decisions", query("drop_copies", values))
    engine.create_table("earlier_near", query("earlier_copies", values))
    engine.create_table("lost", query("lost_near", {**values, "kind": "facts", "earlier_rule": "earlier_text"}))


def _drop_near(engine: Engine, match: NearMatch) -> None:
    values: dict[str, Value] = {
        "kind": match.kind,
        "max_bits": match.max_bits,
        "keep": match.keep,
        "near_rule": match.rule,
        "earlier_rule": f"earlier_{match.kind}",
        "priority": 4 if match.kind == "text" else 5,  # after those of uid, URL and picture
    }
    engine.create_table("bands", query("bands", kind=match.kind, exact=match.exact))
    engine.create_table("candidates", query("candidates"))
    engine.create_table("links", query("links", values, kind=match.kind))
    settle_links(engine)
    engine.create_table("decisions", query("drop_near", values, kind=match.kind, exact=match.exact))
    engine.create_table("bands", query("bands", kind=match.kind, exact="id"))  # of what is left
    engine.create_table("earlier_near", query("earlier_near", values, kind=match.kind))
    engine.create_table("lost", query("lost_near", values))


def settle_links(engine: Engine, max_rounds: int = _MAX_ROUNDS) -> None:
    """Replace `links` by links from each row to the smallest row of its connected component.

    Raises BadData when that takes more than `max_rounds` rounds: unsettled links would keep near duplicates.
    """
    rounds = 0
    while unsettled := engine.fetch_number(query("unsettled_links")):
        if rounds == max_rounds:
            raise BadData(
                f"Near duplicates could not be clustered: after {rounds} rounds {unsettled} links were left. "
                "Raise ingest.dedup.similarity for fewer links, or set ingest.dedup.near=false to keep near duplicates."
            )
        engine.create_table("links", query("large_star"))
        engine.create_table("links", query("small_star"))
        rounds += 1
