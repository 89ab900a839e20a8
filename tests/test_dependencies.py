"""Every package that pyproject.toml asks for is imported, or has its reason here."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.test_layers import imported_by

ROOT = Path(__file__).parents[1]
BY_OTHERS = {
    "psycopg2-binary": "SQLAlchemy, for a catalog in PostgreSQL",
    "pandas": "Great Expectations",
    "tensorboard": "torch.utils.tensorboard",
    "onnxruntime": "rapidocr",
    "torchvision": "processors of transformers",
}


def test_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(name for extra in ("spark", "train", "experts", "publish") for name in extras[extra]),
    ]
    modules: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules.setdefault(_plain(name), set()).add(module)
    used = {name.partition(".")[0] for path in ROOT.glob("kale_tasks/**/*.py") for name in imported_by(path)}
    packages = {_plain(re.split(r"[\[<>=;~ ]", one)[0]) for one in asked}
    unused = {name for name in packages - BY_OTHERS.keys() if used.isdisjoint(modules.get(name, ()))}
    assert not unused, "nothing imports these: remove them from pyproject.toml, or say here who does"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _pins(name: str) -> dict[str, bool]:
    """The versions of a lock, each with whether it has hashes."""
    text = (ROOT / "lock" / name).read_text()
    return {pin: bool(hashes) for pin, hashes in re.findall(r"^(\S+==[^\s\\]+)((?: \\\n +--hash=\S+)*)", text, re.M)}


@pytest.mark.parametrize("name", ["requirements", "image", "image-gpu", "torch-cpu", "vllm-cpu", "vllm-gpu"])
def test_a_lock_has_the_hashes_of_all_files(name: str) -> None:
    pins = _pins(f"{name}.txt")
    without = {pin.partition("==")[0] for pin, hashed in pins.items() if not hashed}
    # Which build of torch is taken is decided where these two are installed.
    assert pins and without == ({"torch", "torchvision"} if name in ("requirements", "vllm-cpu") else set())


@pytest.mark.parametrize("name", ["image", "image-gpu", "torch-cpu"])
def test_an_image_has_the_versions_that_are_tested(name: str) -> None:
    tested = dict(pin.split("==") for pin in _pins("requirements.txt"))
    pins = dict(pin.removesuffix("+cpu").split("==") for pin in _pins(f"{name}.txt"))
    assert {one: version for one, version in pins.items() if tested.get(one, version) != version} == {}
    assert name == "torch-cpu" or {"apache-airflow", "pyspark", "hatchling"} <= set(pins)
    assert ("torch" in pins) == (name != "image")
