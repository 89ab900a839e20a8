"""Decides the fate of every row by queries, the same for every engine: rules, exact, earlier and near duplicates."""

from kale_tasks.config.ingest import Dedup, Ingest
from kale_tasks.ingest.engine import Engine, query
from kale_tasks.ingest.near import SKETCH_BITS

_ROUNDS = 50  # a chain of n links takes about log n of them


def decide(engine: Engine, settings: Ingest) -> None:
    """From the tables `rows` and `earlier` makes `fates`: for each row the rule that drops it, or NULL."""
    rules = settings.rules
    engine.keep("earlier", query("met"))
    engine.view("fates", query("judge", rules.semantic()))
    engine.view("fates", query("earlier"))
    for kind in ("uid", "url", "picture"):
        limit = rules.max_picture_urls if kind == "picture" else None
        names = {"hash": f"{kind}_hash", "rule": f"duplicate_{kind}", "crowd_rule": f"placeholder_{kind}"}
        engine.view("fates", query("same", limit=limit or "NULL", **names))
    if rules.max_text_urls is not None:
        engine.view("fates", query("crowd", limit=rules.max_text_urls))
    engine.keep("fates", "SELECT * FROM fates")
    if settings.dedup.near:
        _near(engine, settings.dedup)


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
