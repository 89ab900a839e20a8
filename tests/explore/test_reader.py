"""`kale.open_lake`: captions in pandas, DuckDB, Spark and datasets; the lines in the documents run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kale_tasks as kale
from kale_tasks.errors import BadConfig
from kale_tasks.world.draw import SIDE
from tests.explore.conftest import KEY
from tests.lakes import lake_of

PAGE = Path(__file__).parents[2] / "docs/python.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)


@pytest.fixture(scope="module")
def lake(captioned: list[str]) -> Any:
    return kale.open_lake("", *captioned)


@pytest.fixture(scope="module")
def rows(captioned: list[str]) -> int:
    committed = lake_of(captioned)[0].committed("captions", KEY, {"recipe": "demo", "stage": 1})
    assert committed
    return committed.rows


def test_the_import_is_light() -> None:
    code = "import sys, kale_tasks; print(len(sys.modules), 'pyarrow' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["False", "False"] and int(done.stdout.split()[0]) < 120


def test_pandas(lake: Any, rows: int) -> None:
    frame = lake.pandas(where="stage = 1")
    assert len(frame) == rows and set(frame["recipe"]) == {"demo"}
    assert list(lake.pandas("captions", KEY, ["uid", "caption"])) == ["uid", "caption"]


def test_duckdb(lake: Any, rows: int) -> None:
    query = "select count(*) as n, count(distinct p.url) as urls from captions c join pairs p using (uid)"
    assert lake.sql(query).df().iloc[0].tolist() == [rows, rows]


def test_datasets(lake: Any, rows: int) -> None:
    dataset = lake.dataset(key=KEY)
    assert (len(dataset), "caption" in dataset.column_names) == (rows, True)


def test_pictures(lake: Any) -> None:
    uid = lake.pandas(columns=["uid"])["uid"][0]
    assert lake.image(uid, KEY).size == lake.image(uid).size == (SIDE, SIDE)
    with pytest.raises(BadConfig, match="no image of"):
        lake.image("0" * 32)


def test_tables_and_keys(lake: Any) -> None:
    assert lake.keys() == [KEY] and {"captions", "texts", "images"} <= set(lake.tables())
    with pytest.raises(BadConfig, match="no table 'caption'"):
        lake.pandas("caption")


@pytest.mark.nightly
def test_spark(lake: Any, rows: int) -> None:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        frame = lake.spark(session, key=KEY)
        assert frame.count() == rows and "caption" in frame.columns
        assert lake.spark(session, "models").count() == 0
    finally:
        session.stop()


@pytest.mark.parametrize("snippet", [text for text in SNIPPETS if "Spark" not in text])
def test_the_lines_in_the_documents_run(snippet: str, captioned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(value.split("=", 1) for value in captioned)
    monkeypatch.setenv("KALE_LANDING", known["landing"])
    text = snippet.replace('"kale-data/warehouse"', repr(known["warehouse"]))
    exec(compile(text, str(PAGE), "exec"), {})


def test_the_notebook_runs(captioned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    known = dict(value.split("=", 1) for value in captioned)
    monkeypatch.setenv("KALE_LANDING", known["landing"])
    monkeypatch.setenv("KALE_WAREHOUSE", known["warehouse"])
    cells = json.loads((PAGE.parents[1] / "examples/notebook/captions.ipynb").read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], cell["id"], "exec"), names)
    assert 0.5 < names["shares"]["from_alt"][0] <= 1 and set(names["lost"]["status"]) >= {"ok"}
    assert len(names["clean"]) <= len(names["captions"])
