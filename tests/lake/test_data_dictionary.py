"""The data dictionary is what the schemas say."""

from pathlib import Path

from kale_tasks.lake.data_dictionary import page
from kale_tasks.lake.schemas import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_the_page_of_the_tables_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "The tables have changed: run `python -m kale_tasks.lake.data_dictionary > docs/data.md`."
    )


def test_every_table_and_column_has_a_meaning_of_one_line() -> None:
    for spec in TABLES.values():
        assert spec.row and "\n" not in spec.row
        for column in spec.columns:
            assert column.meaning.endswith(".") and "\n" not in column.meaning and "|" not in column.meaning, column
