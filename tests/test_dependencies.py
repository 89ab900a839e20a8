"""Every package that pyproject.toml asks for is imported, or has its reason here."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

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
