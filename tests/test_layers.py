"""The drawing of the layers in docs/architecture.md is what the imports are."""


def test_no_module_imports_from_a_layer_above_its_own() -> None:
    from importlinter.cli import lint_imports

    assert lint_imports(no_logo=True) == 0, "run `lint-imports`: it lists each import that points up"
