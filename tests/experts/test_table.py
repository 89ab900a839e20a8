"""Values that somebody else's model found are adopted by uid."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.experts.base import VALUES, Expert, ExpertRow, open_expert, values_of

ROWS = [ExpertRow(uid, "alt") for uid in ("c", "a", "b")]


def detections(folder: Path, name: str = "part-0.parquet", **more: list[object]) -> Path:
    folder.mkdir(exist_ok=True)
    rows = {"uid": ["a", "c", "c", "d"], "tag": ["lamp", "cup", "saucer", "hat"], "score": [0.9, 0.8, 0.3, 1.0]}
    pq.write_table(pa.table(rows | more), folder / name)
    return folder


def test_each_row_gets_its_values_in_order_and_other_rows_of_the_table_are_not_read(tmp_path: Path) -> None:
    expert = open_expert("table", {"path": str(detections(tmp_path)), "text": "tag"})
    values = values_of(expert, ROWS)
    assert values.schema == VALUES
    assert [(row["uid"], row["text"], row["score"], row["data"]) for row in values.to_pylist()] == [
        ("c", "cup", 0.8, None), ("c", "saucer", 0.3, None), ("a", "lamp", 0.9, None),
    ]  # fmt: skip


def test_values_below_the_least_score_are_left_out(tmp_path: Path) -> None:
    expert = open_expert("table", {"path": str(detections(tmp_path)), "text": "tag", "min_score": 0.5})
    assert values_of(expert, ROWS)["text"].to_pylist() == ["cup", "lamp"]


def test_the_data_of_a_value_is_kept(tmp_path: Path) -> None:
    folder = detections(tmp_path, data=["[0]", "[1]", None, "[3]"])
    values = values_of(open_expert("table", {"path": str(folder / "part-0.parquet"), "text": "tag"}), ROWS)
    assert values["data"].to_pylist() == ["[1]", None, "[0]"]


def test_its_identity_changes_with_the_files_and_not_with_their_place(tmp_path: Path) -> None:
    def identity(folder: Path) -> str:
        return open_expert("table", {"path": str(folder), "text": "tag"}).identity

    one, same = detections(tmp_path / "one"), detections(tmp_path / "same")
    assert identity(one) == identity(same)
    assert identity(detections(tmp_path / "one", "part-1.parquet")) != identity(same)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"path": "nowhere.parquet"}, "finds no Parquet file at nowhere.parquet"),
        ({"path": "nowhere.parquet", "least": 1}, "rejects its options"),
        ({}, "rejects its options"),
    ],
)
def test_options_that_do_not_work_are_named(options: dict[str, object], what: str) -> None:
    with pytest.raises(BadConfig, match=what):
        values_of(open_expert("table", options), ROWS)


def test_a_table_without_the_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no column 'label'"):
        values_of(open_expert("table", {"path": str(detections(tmp_path)), "text": "label"}), ROWS)


def test_values_of_a_row_that_was_not_given_are_refused() -> None:
    class Confused(Expert):
        def values(self, rows):
            return pa.Table.from_pylist([{"uid": "z", "text": "hat"}], schema=VALUES)

    with pytest.raises(BadData, match="'z', a row that it was not given"):
        values_of(Confused(), ROWS)
