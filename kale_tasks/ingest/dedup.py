"""Decides the fate of every row by queries, the same for every engine: rules, exact, earlier and near duplicates."""

from kale_tasks.config.ingest import Dedup, Ingest
from kale_tasks.ingest.engine import Engine, query
from kale_tasks.ingest.near import SKETCH_BITS

_ROUNDS = 50  # a chain of n links takes about log n of them


def decide(engine: Engine, settings: Ingest) -> None:
    """From the tables `rows` and `earlier` makes `fates`: for each row the rule that drops it, or NULL."""
    rules = settings.rules
    engine.view("fates", query("judge", rules.semantic()))
    engine.view("fates", query("earlier"))
    engine.view("fates", query("same", hash="uid_hash", rule="duplicate_uid"))
    engine.view("fates", query("same", hash="url_hash", rule="duplicate_url"))
    for hash_, rule, limit in (
        ("picture_hash", "placeholder_picture", rules.max_picture_urls),
        ("text_hash", "shared_text", rules.max_text_urls),
    ):
        if limit is not None:
            engine.view("fates", query("crowd", hash=hash_, rule=rule, limit=limit))
    engine.view("fates", query("same", hash="picture_hash", rule="duplicate_picture"))
    if settings.dedup.near:
        engine.keep("fates", engine_name("fates"))
        _near(engine, settings.dedup)


def engine_name(table: str) -> str:
    """All of a table, as a query."""
    return f"SELECT * FROM {table}"


def _near(engine: Engine, dedup: Dedup) -> None:
    # Sketches of texts of similarity s differ in half of (1 - s) of their bits, on average.
    values = {"max_bits": round(SKETCH_BITS * (1 - dedup.similarity) / 2), "keep": dedup.keep}
    engine.keep("bands", query("bands"))
    engine.keep("candidates", query("candidates"))
    engine.keep("links", query("links", values))
    engine.keep("matches", query("matches", values))
    for _ in range(_ROUNDS):
        if engine.count(query("unsettled")) == 0:
            break
        engine.keep("links", query("large_star"))
        engine.keep("links", query("small_star"))
    engine.view("fates", query("near", values))
