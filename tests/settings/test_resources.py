"""Shipped files: found in a checkout and in an installed wheel."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kale_tasks.resources import resource

ROOT = Path(__file__).parents[2]
_SHOW = """
import json
from importlib.resources import files
from kale_tasks.resources import resource, sql
from kale_tasks.settings import load
from kale_tasks.settings import publish  # the module, not a folder of YAML files
settings = load(environ={}).settings
print(json.dumps([
    str(resource("config/kale.yaml")), settings.profile, sql("reports/release_diff"),
    publish.Publish.__name__, files("kale_tasks").joinpath("release/templates").is_dir(), resource("dags").is_dir(),
]))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder laid out as the wheel: the package, and the shipped folders where pyproject.toml puts them."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    large = shutil.ignore_patterns("checkpoints", "__pycache__")
    for package in build["packages"]:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=large)
    for source, target in build["force-include"].items():
        assert not (tmp_path / target).exists(), f"{source} would be merged into the package's {target}"
        shutil.copytree(ROOT / source, tmp_path / target, ignore=large)
    return tmp_path


def test_an_installed_wheel_finds_its_settings_queries_and_dags(installed: Path) -> None:
    command = [sys.executable, "-c", _SHOW]
    done = subprocess.run(command, cwd=installed, env={"PYTHONPATH": str(installed)}, capture_output=True, check=True)
    path, profile, query, section, templates, dags = json.loads(done.stdout)
    assert Path(path).is_relative_to(installed) and profile == "demo" and "SELECT" in query.upper()
    assert (section, templates, dags) == ("Publish", True, True)


@pytest.mark.parametrize("name", ["config/kale.yaml", "config/profiles", "sql", "dags", "plugins"])
def test_a_checkout_finds_what_a_wheel_ships(name: str) -> None:
    assert resource(name).exists()
