"""Duplicates within a key and of earlier keys: which rows are found, and which one is kept."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_tasks.errors import BadData
from kale_tasks.ingest.dedup import settle_links
from kale_tasks.ingest.duck import DuckEngine
from kale_tasks.ingest.engine import Query, query
from kale_tasks.ingest.minhash import text_bits, text_sketches
from kale_tasks.ingest.step import Ingest
from kale_tasks.lake.tables import Lake
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import plan
from tests.ingest.world import balanced, ingest, kept, land, numbers, pair, settings_for

LONG = "The old stone bridge over the river Neretva in Mostar, rebuilt by divers and masons in 2004 after the war"


def bits(one: str, other: str, tmp_path: Path) -> int:
    _, sketch = text_sketches([one, other], settings_for(tmp_path).ingest.dedup)
    return int(np.bitwise_count(sketch[0] ^ sketch[1]).sum())


def test_sketches_of_near_texts_differ_in_fewer_bits_than_those_of_others(tmp_path: Path) -> None:
    assert bits(LONG, LONG, tmp_path) == 0
    assert bits(LONG, LONG + "s", tmp_path) <= text_bits(0.8)
    assert bits(LONG, "A recipe for plum dumplings with poppy seeds", tmp_path) > 2 * text_bits(0.8)


@settings(max_examples=40)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=8))
def test_a_sketch_does_not_depend_on_other_texts_of_its_batch(texts: list[str]) -> None:
    dedup = settings_for(Path("unused")).ingest.dedup
    together, alone = text_sketches(texts, dedup), [text_sketches([text], dedup) for text in texts]
    for kind in (0, 1):
        assert (together[kind] == np.concatenate([one[kind] for one in alone])).all()


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda p: p[0] > p[1]), max_size=60))
def test_links_of_any_shape_settle_into_stars_around_the_smallest_row(links: list[tuple[int, int]]) -> None:
    with duckdb.connect() as db:
        db.execute("CREATE TABLE links (a BIGINT, b BIGINT)")
        if links:
            db.executemany("INSERT INTO links VALUES (?, ?)", links)
        rounds = 0
        while db.execute(query("unsettled_links").text).fetchone() != (0,):
            for star in ("large_star", "small_star"):
                db.execute(f"CREATE OR REPLACE TABLE links AS {query(star).text}")
            rounds += 1
        assert rounds <= 12
        found = dict(db.execute("SELECT a, min(b) FROM links GROUP BY a HAVING count(DISTINCT b) = 1").fetchall())
    assert found == dict(_least_of_each(links))


def _least_of_each(links: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    groups: list[set[int]] = []
    for link in links:
        meeting = [g for g in groups if g & set(link)]
        groups = [g for g in groups if g not in meeting] + [set(link).union(*meeting)]
    for group in groups:
        yield from ((member, min(group)) for member in group if member != min(group))


def test_the_best_of_equal_rows_is_kept_and_counts_the_others(tmp_path: Path) -> None:
    rows = [
        pair(1, similarity=0.2), pair(1, similarity=0.4, text="A better text about the same old castle"),  # one URL
        pair(2, sha256="ab" * 32), pair(3, sha256="AB" * 32, original_width=900, original_height=900),  # one picture
        pair(4, uid="c" * 32), pair(5, uid="C" * 32),  # one uid
        pair(6, text=LONG), pair(7, text=LONG.upper() + "!"), pair(8, text=f"{LONG}."),  # one text
        pair(9),
    ]  # fmt: skip
    land(tmp_path / "landing", rows)
    settings = settings_for(tmp_path)
    (committed,) = ingest(settings)
    assert balanced(committed)
    found = {numbers([row])[0]: (row["dup_count"], row["alt_text"]) for row in kept(settings)}
    assert {n: count for n, (count, _) in found.items()} == {1: 2, 3: 2, 4: 2, 6: 3, 9: 1}
    assert found[1][1].startswith("A better text")
    assert committed.dropped == {"duplicate_url": 1, "duplicate_picture": 1, "duplicate_uid": 1, "near_duplicate": 2}


def test_the_rows_kept_of_a_cluster_include_those_of_earlier_keys(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n, text=f"{LONG}{'.' * n}") for n in range(2)], "k1")
    land(tmp_path / "landing", [pair(n, text=f"{LONG}{'!' * n}") for n in range(10, 15)], "k2")
    settings = settings_for(tmp_path, "ingest.dedup.keep=3")
    first, second = ingest(settings, "k1", "k2")
    assert (first.rows, second.rows) == (2, 1)
    assert second.dropped == {"near_duplicate": 2, "earlier_text": 2}


def test_texts_and_images_that_too_many_urls_share_are_dropped(tmp_path: Path) -> None:
    shared = [pair(n, text=LONG) for n in range(11)]
    grey = [pair(n, sha256="00" * 32) for n in range(20, 31)]
    land(tmp_path / "landing", [*shared, *grey, pair(40), pair(41)])
    (committed,) = ingest(settings_for(tmp_path))
    assert committed.dropped == {"shared_text": 11, "placeholder_picture": 11}
    assert committed.rows == 2


def test_a_key_of_nothing_but_copies_ends_with_one_row(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(n, text="Five thousand letters about a harbour " * 130) for n in range(3000)])
    loose = ["ingest.rules.max_text_urls=null", "ingest.rules.max_chars=null", "ingest.rules.max_repetition=null"]
    settings = settings_for(tmp_path, *loose)
    (committed,) = ingest(settings)
    assert (committed.rows, committed.dropped) == (1, {"near_duplicate": 2999})
    assert kept(settings)[0]["dup_count"] == 3000


def test_landed_embeddings_find_semantic_duplicates(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    one, other = rng.standard_normal(64), rng.standard_normal(64)
    near = one + 0.02 * rng.standard_normal(64)
    vectors = [one.tolist(), near.tolist(), other.tolist(), None, None]
    land(tmp_path / "landing", [pair(n, clip_embedding=vector) for n, vector in enumerate(vectors)], "k1")
    land(tmp_path / "landing", [pair(10, clip_embedding=(other * 3).tolist())], "k2")
    settings = settings_for(tmp_path, "ingest.dedup.embedding_similarity=0.95")
    first, second = ingest(settings, "k1", "k2")
    assert (first.dropped, second.dropped) == ({"semantic_duplicate": 1}, {"earlier_meaning": 1})


@pytest.fixture
def three_keys(tmp_path: Path) -> Path:
    """Keys that repeat each other by uid, URL, picture and text."""
    landing = tmp_path / "landing"
    land(landing, [pair(1, sha256="aa" * 32), pair(2), pair(3, text=LONG), pair(4)], "k1")
    land(landing, [pair(1, text="New words for a known address"), pair(12, sha256="aa" * 32), pair(2), pair(20)], "k2")
    land(landing, [pair(13, text=f"{LONG} !"), pair(20), pair(30)], "k3")
    return tmp_path


def test_a_key_drops_what_earlier_keys_kept(three_keys: Path) -> None:
    settings = settings_for(three_keys)
    _, second, third = ingest(settings, "k1", "k2", "k3")
    assert second.dropped == {"earlier_url": 1, "earlier_picture": 1, "earlier_uid": 1}
    assert third.dropped == {"earlier_text": 1, "earlier_uid": 1}
    assert numbers(kept(settings, "k3")) == [30]


def test_the_rows_do_not_depend_on_the_order_of_the_keys(three_keys: Path, tmp_path: Path) -> None:
    straight = [c.content for c in ingest(settings_for(three_keys), "k1", "k2", "k3")]
    other = settings_for(three_keys, f"warehouse={tmp_path / 'other'}")
    ingest(other, "k3", "k2", "k1")
    assert [c.content for c in ingest(other, "k1", "k2", "k3")] == straight


def test_a_backfilled_key_makes_later_keys_stale_and_no_earlier_one(three_keys: Path) -> None:
    settings = settings_for(three_keys)
    ingest(settings, "k1", "k3")
    lake = Lake(settings)
    assert [plan(Run(Ingest(), lake, settings, key)).committed for key in ("k1", "k3")] == [True, True]
    ingest(settings, "k2")
    assert [plan(Run(Ingest(), lake, settings, key)).committed for key in ("k1", "k2", "k3")] == [True, True, False]


def test_links_that_do_not_settle_are_an_error(tmp_path: Path) -> None:
    chain = Query("SELECT CAST(i + 1 AS BIGINT) AS a, CAST(i AS BIGINT) AS b FROM range(40) AS numbers(i)")
    settings = settings_for(tmp_path)
    with closing(DuckEngine(settings.ingest, Lake(settings).storage)) as engine:
        engine.create_table("links", chain)
        with pytest.raises(BadData, match=r"after 2 rounds .* links were left"):
            settle_links(engine, max_rounds=2)
        settle_links(engine)
        assert engine.fetch_number(Query("SELECT count(*) FROM links WHERE b = 0")) == 40


@pytest.mark.parametrize(("policy", "left"), [("strict", [0, 2, 3]), ("facts", [0, 3]), ("off", [0])])
def test_the_policy_decides_which_texts_are_copies(tmp_path: Path, policy: str, left: list[int]) -> None:
    texts = [LONG, LONG.upper() + "!", f"{LONG} - Stock Photo", LONG.replace("2004", "2005")]
    land(tmp_path / "landing", [pair(n, text=text) for n, text in enumerate(texts)])
    settings = settings_for(tmp_path, f"ingest.dedup.policy={policy}")
    ingest(settings)
    assert numbers(kept(settings)) == left


@pytest.mark.parametrize(("other_pictures", "left"), [("false", [1, 2]), ("true", [1])])
def test_other_pictures_of_a_text_are_dropped_only_if_asked_for(
    tmp_path: Path, other_pictures: str, left: list[int]
) -> None:
    known = [pair(n, text=LONG, sha256=f"{n:064x}", similarity=1 - n / 10) for n in (1, 2)]
    land(tmp_path / "landing", [pair(0, text=LONG, similarity=0.1), *known], "k1")
    land(tmp_path / "landing", [pair(3, text=LONG), pair(4, text=LONG, sha256=f"{4:064x}")], "k2")
    settings = settings_for(tmp_path, f"ingest.dedup.other_pictures={other_pictures}")
    _, second = ingest(settings, "k1", "k2")
    assert numbers(kept(settings, "k1")) == left
    assert sum(row["dup_count"] for row in kept(settings, "k1")) == 3
    assert second.rows == (1 if other_pictures == "false" else 0)


def test_a_chain_of_similar_texts_does_not_merge_its_ends(tmp_path: Path) -> None:
    words = [f"word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)]
    chain = [" ".join(words[n : n + 30]) for n in range(0, 31, 2)]
    land(tmp_path / "landing", [pair(n, text=text) for n, text in enumerate(chain)])
    settings = settings_for(tmp_path, "ingest.dedup.policy=off", "ingest.rules.languages=[]")
    ingest(settings)
    found = numbers(kept(settings))
    assert {0, 15} <= set(found) and len(found) < len(chain)
