"""Decides by queries which rows are dropped: by row rules first, then as duplicates in this key or of earlier keys."""

from dataclasses import dataclass

from pyiceberg.expressions import LessThan

from kale_tasks.errors import BadData
from kale_tasks.ingest.engine import Engine, Query, Value, query
from kale_tasks.ingest.minhash import embedding_bits, text_bits
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.lake.tables import Lake
from kale_tasks.settings.ingest import Ingest

INDEX = "dedup_index"
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
    """Make the table `decisions`: for each row the rule that drops it, or NULL.

    Reads the tables `rows`, `text` and `meaning` of this key and the index entries `earlier` of earlier keys.
    """
    rules = settings.rules
    engine.create_table("earlier", query("earlier_entries"))
    engine.create_view("decisions", query("row_rules", rules.model_dump()))
    engine.create_view("decisions", query("drop_earlier"))
    for kind in ("uid", "url", "picture"):
        values: dict[str, Value] = {
            "limit": rules.max_picture_urls if kind == "picture" else None,
            "placeholder_rule": f"placeholder_{kind}",
            "duplicate_rule": f"duplicate_{kind}",
        }
        engine.create_view("decisions", query("drop_exact", values, column=f"{kind}_hash"))
    if rules.max_text_urls is not None:
        engine.create_view("decisions", query("drop_shared_text", {"limit": rules.max_text_urls}))
    engine.create_table("decisions", Query("SELECT * FROM decisions"))
    for match in near_matches(settings):
        _drop_near(engine, match)


def near_matches(settings: Ingest) -> list[NearMatch]:
    """Return the near matches that the settings enable."""
    dedup, found = settings.dedup, list[NearMatch]()
    if dedup.near:
        found.append(NearMatch("text", "text_hash", "near_duplicate", text_bits(dedup.similarity), dedup.keep))
    if dedup.embedding_similarity is not None:
        found.append(NearMatch("meaning", "id", "semantic_duplicate", embedding_bits(dedup.embedding_similarity), 1))
    return found


def _drop_near(engine: Engine, match: NearMatch) -> None:
    values: dict[str, Value] = {
        "kind": match.kind,
        "max_bits": match.max_bits,
        "keep": match.keep,
        "near_rule": match.rule,
        "earlier_rule": f"earlier_{match.kind}",
    }
    engine.create_table("bands", query("bands", kind=match.kind, exact=match.exact))
    engine.create_table("candidates", query("candidates"))
    engine.create_table("links", query("links", values, kind=match.kind))
    engine.create_table("earlier_near", query("earlier_near", values, kind=match.kind))
    settle_links(engine)
    engine.create_table("decisions", query("drop_near", values, exact=match.exact))


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


def unfinished_keys(lake: Lake, key: str) -> list[str]:
    """List the earlier keys whose commit was interrupted before their index was written."""
    index = {partition.key: committed.fingerprint for partition, committed in lake.partitions(INDEX).items()}
    pairs = lake.partitions("pairs")
    return [p.key for p, c in pairs.items() if p.key < key and c.rows and index.get(p.key) != c.fingerprint]


def earlier_content(lake: Lake, key: str) -> str:
    """Hash what all earlier keys have kept. Committing another content for one of them changes the hash."""
    known = "".join(f"{p.key}={c.content}\n" for p, c in lake.partitions(INDEX).items() if p.key < key)
    return short_sha256(known)


def earlier_files(lake: Lake, key: str) -> list[str]:
    """List the index files of all earlier keys, as paths in the warehouse."""
    return sorted(file.path for file in lake.files(INDEX, where=LessThan(term="key", value=key)))
