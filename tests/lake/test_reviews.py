"""What people say of texts: stored in the lake once for each person and text, also by several at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from kale_tasks.lake import reviews, tombstones
from kale_tasks.lake.reviews import EDIT, PREFERENCE, Review
from kale_tasks.lake.tables import Lake
from tests.lakes import lake_of, lake_sets

UIDS = [f"{n:032x}" for n in range(8)]


def _vote(uid: str, by: str, value: str = "side") -> Review:
    return Review(uid, "k", PREFERENCE, by, "kale/1", "kale/1/dense", value=value, of="0")


def _stored(lake: Lake) -> list[tuple[str, str, str]]:
    rows = reviews.read(lake, "k").to_pylist()
    return [(row["uid"], row["by"], row["value"]) for row in rows]


def test_a_lake_without_reviews_has_none_and_gets_no_table_by_being_asked(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    assert reviews.read(lake).num_rows == reviews.read(lake, "k", uid=UIDS[0]).num_rows == 0
    assert reviews.TABLE not in lake.tables()


def test_judging_again_replaces_the_judgement_of_the_same_person_only(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    reviews.add(lake, "k", [_vote(UIDS[1], "ada"), _vote(UIDS[0], "ada"), _vote(UIDS[0], "bob", "tie")])
    reviews.add(lake, "k", [_vote(UIDS[0], "ada", "against")])
    assert sorted(_stored(lake)) == [(UIDS[0], "ada", "against"), (UIDS[0], "bob", "tie"), (UIDS[1], "ada", "side")]
    assert reviews.read(lake, "k", uid=UIDS[1]).num_rows == 1


def test_people_who_vote_at_once_lose_no_vote(tmp_path: Path) -> None:
    sets = lake_sets("folder", tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: reviews.add(lake_of(sets)[0], "k", [_vote(UIDS[n % 8], f"person {n}")]), range(12)))
    assert len(_stored(lake_of(sets)[0])) == 12


def test_nothing_is_stored_of_a_row_that_was_taken_down(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    reviews.add(lake, "k", [_vote(UIDS[0], "ada"), _vote(UIDS[1], "ada")])
    tombstones.add(lake, {"uid": [UIDS[0]]})
    reviews.add(lake, "k", [_vote(UIDS[0], "bob"), _vote(UIDS[2], "bob")])
    assert {uid for uid, *_ in _stored(lake)} == {UIDS[1], UIDS[2]}


def test_removal_takes_out_the_named_rows(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    edit = Review(UIDS[3], "k", EDIT, "ada", "kale/1", text="As it should be.")
    reviews.add(lake, "k", [_vote(UIDS[0], "ada"), edit])
    reviews.remove(lake, "k", pa.array([UIDS[0]]))
    assert [uid for uid, *_ in _stored(lake)] == [UIDS[3]]


def test_the_only_judgement_on_a_key_is_removed_and_another_comes_after_it(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    reviews.add(lake, "k", [_vote(UIDS[0], "ada")])
    for _ in range(2):  # a takedown may sweep again
        reviews.remove(lake, "k", pa.array([UIDS[0]]))
        assert _stored(lake) == []
    reviews.add(lake, "k", [_vote(UIDS[1], "ada")])
    assert [uid for uid, *_ in _stored(lake)] == [UIDS[1]]


def test_a_list_for_a_dag_is_deleted_by_the_takedown_that_it_asks_for(tmp_path: Path) -> None:
    lake, _ = lake_of(lake_sets("folder", tmp_path))
    wanted = {"uid": [UIDS[0]], "url": ["https://a.example/x.jpg"]}
    place, other = tombstones.put_request(lake, wanted), tombstones.put_request(lake, {"uid": [UIDS[1]]})
    assert Path(place).read_text().splitlines() == [f"uid {UIDS[0]}", "url https://a.example/x.jpg"]
    tombstones.forget_request(lake, {**wanted, "host": []})
    assert not Path(place).exists() and Path(other).exists()
