"""The drawing of the layers in docs/architecture.md is what the imports are, and no module is a mere fragment."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest


def test_no_module_imports_from_a_layer_above_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)  # it would turn off the loggers of other tests
    from importlinter.cli import lint_imports

    assert lint_imports(no_logo=True) == 0, "run `lint-imports`: it lists each import that points up"


ROOT = Path(__file__).parents[1]
SHORT = 40  # lines


def test_no_short_module_has_a_single_importer() -> None:
    modules = {_module(path): path for path in ROOT.glob("kale_tasks/**/*.py")}
    importers: dict[str, set[str]] = {name: set() for name in modules}
    for path in (*modules.values(), *ROOT.glob("dags/*.py"), *ROOT.glob("plugins/*.py")):
        for name in imported_by(path) & importers.keys():
            importers[name].add(_module(path))
    short = {name for name, path in modules.items() if len(path.read_text().splitlines()) < SHORT}
    packages = {name for name, path in modules.items() if path.name == "__init__.py"}
    fragments = {name for name in short - packages if len(importers[name]) == 1}
    assert not fragments, "join each of these modules with the one that imports it"


def test_no_modules_import_each_other() -> None:
    modules = {_module(path): path for path in ROOT.glob("kale_tasks/**/*.py")}
    graph = {
        name: imported_by(path) & modules.keys() for name, path in modules.items()
    }  # also lazy, and for annotations
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these modules import each other: {' <- '.join(error.args[1])}")


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names
