"""The example package, built as a wheel and installed beside KALE: each of its parts does its work in a child process.

It is installed into a folder of its own, which the child processes have on their path. This process never imports it.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kale_tasks.airflow.command import Command
from kale_tasks.errors import BadConfig
from tests.ingest.test_step import on_spark
from tests.ingest.world import KEY, land, pair
from tests.lakes import lake_of, lake_sets
from tests.release.world import fill
from tests.services.spark import SparkCluster

ROOT = Path(__file__).parents[2]
_INSTALL = 'source scripts/common.sh; uv pip install -q --python "$1" --no-deps --target "$2" examples/plugin'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(["bash", "-c", _INSTALL, "install", sys.executable, str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.fixture
def environment(site: Path) -> dict[str, str]:
    """What a child process needs to find the package, and KALE itself."""
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def kale(environment: Mapping[str, str], *words: str, sets: list[str]) -> Any:
    """Run a command as an Airflow worker does."""
    options = [word for one in sets for word in ("--set", one)]
    return Command([*words, *options], environment).run(print)


@pytest.fixture
def sets(tmp_path: Path) -> list[str]:
    """The settings of a lake with two landed pairs, one of which is a product number."""
    land(tmp_path / "landing", [pair(1), pair(2, text="Lamp no. 4711-0815"), pair(3)])
    sets = [f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}", "ingest.lists.evaluation=null"]
    lake_of(sets)
    return sets


def dropped(tmp_path: Path) -> Mapping[str, int]:
    lake, _ = lake_of([f"warehouse={tmp_path / 'lake'}"])
    committed = lake.committed("pairs", KEY)
    assert committed
    return committed.dropped


RULE = "ingest.rules.extra={product_number: {min_digits: 4}}"


def test_the_rule_drops_rows_in_an_airflow_task(tmp_path: Path, environment: dict[str, str], sets: list[str]) -> None:
    kale(environment, "run", "ingest", "--key", KEY, sets=[*sets, RULE])
    assert dropped(tmp_path) == {"product_number": 1}


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_rule_drops_rows_in_spark_executors(
    tmp_path: Path, environment: dict[str, str], sets: list[str], spark_cluster: SparkCluster
) -> None:
    cluster = on_spark(
        spark_cluster.url,
        **{"spark.executor.memory": "512m", "spark.executorEnv.PYTHONPATH": environment["PYTHONPATH"]},
    )
    kale(environment, "run", "ingest", "--key", KEY, sets=[*sets, RULE, *cluster])
    assert dropped(tmp_path) == {"product_number": 1}


def test_without_the_package_the_rule_is_unknown(sets: list[str]) -> None:
    with pytest.raises(BadConfig, match="product_number"):
        kale({"PYTHONPATH": str(ROOT)}, "run", "ingest", "--key", KEY, sets=[*sets, RULE])


def test_the_check_judges_ingested_rows(environment: dict[str, str], sets: list[str]) -> None:
    kale(environment, "run", "ingest", "--key", KEY, sets=sets)
    result = kale(environment, "check", "ingest", "--key", KEY, "--json", sets=sets)
    assert "year_share" in json.dumps(result), result


def python(environment: Mapping[str, str], code: str) -> str:
    """Run code in a process that has the package, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_engine_returns_the_size_of_each_image(environment: dict[str, str]) -> None:
    code = """
import io
from pathlib import Path
from PIL import Image
from kale_tasks.engines.base import Model, Request, open_engine
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import load

image = io.BytesIO()
Image.new("RGB", (64, 48)).save(image, "PNG")
model = Model("none@0", load_recipe("demo").task("dense"), lambda: Path("nowhere"))
with open_engine(load(["caption.engine=size"]).settings.caption, model) as engine:
    engine.start()
    engine.submit(Request(7, [], image.getvalue()))
    print([(answer.id, answer.text) for answer in engine.finished()], engine.pending)
"""
    assert python(environment, code) == "[(7, 'An image of 64 by 48 pixels.')] 0"


def test_the_expert_finds_a_value_for_each_image(environment: dict[str, str]) -> None:
    code = """
from PIL import Image
from kale_tasks.experts.base import ExpertRow, open_expert, values_of

expert = open_expert("brightness", {"threshold": 100})
expert.start()
rows = [ExpertRow("a", "", Image.new("RGB", (8, 8), "white")), ExpertRow("b", "", Image.new("RGB", (8, 8)))]
print(values_of(expert, [*rows, ExpertRow("c", "")]).select(["uid", "text", "score"]).to_pylist())
"""
    bright, dark = {"uid": "a", "text": "bright", "score": 1.0}, {"uid": "b", "text": "dark", "score": 0.0}
    assert python(environment, code) == str([bright, dark])


def test_the_scorer_rates_texts(environment: dict[str, str]) -> None:
    code = """
from kale_tasks.experts.base import open_scorer

print(open_scorer("shared_words", {}).scores([("A red cup", "a cup of Ubuna"), ("", "x")]))
"""
    assert python(environment, code) == "[0.5, 0.0]"


@pytest.mark.nightly
def test_a_release_has_the_format_and_goes_to_the_target(tmp_path: Path, environment: dict[str, str]) -> None:
    sets = [*lake_sets("folder", tmp_path), "caption.recipe=kale", "publish.formats=[titles]"]
    sets += [f"publish.target=zip://{tmp_path}/out/all.zip"]
    lake, settings = lake_of(lake_sets("folder", tmp_path))
    fill(lake, settings, ["a"], 40)
    kale(environment, "run", "release", "--key", "a", sets=sets)
    kale(environment, "publish", "--key", "a", sets=sets)
    with zipfile.ZipFile(tmp_path / "out/all.zip") as archive:
        archive.extractall(tmp_path / "out")
        manifest = json.loads(archive.read("manifest.json"))
    titles = [tmp_path / "out" / file["name"] for file in manifest["files"] if file["name"].startswith("titles/")]
    found = [row for path in titles for row in pq.read_table(path).to_pylist()]
    assert len(found) == lake.arrow("captions", "a").num_rows > 0
    assert all("shows a thing on fields" in row["title"] and "blue" not in row["title"] for row in found)
