"""Parts with a model load it once, in `start`, and need that call."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from kale_tasks.experts.base import EMBEDDERS, EXPERTS, SCORERS, ExpertRow, Loaded

ROWS = [ExpertRow("a", "A red tower", Image.new("RGB", (32, 32)))]
USES: dict[Any, Callable[[Any], Any]] = {
    EXPERTS: lambda part: part.values(ROWS),
    EMBEDDERS: lambda part: part.vectors(ROWS),
    SCORERS: lambda part: part.scores([("A red tower", "A tower")]),
}
OPTIONS = {"encoder": {"model": "some/encoder@" + "0" * 40}}
PARTS = [
    pytest.param(registry, name, id=f"{registry.kind}-{name}")
    for registry in USES
    for name in registry.names
    if name != "table"
]


@pytest.mark.parametrize(("registry", "name"), PARTS)
def test_a_part_that_was_not_started_says_so_and_loads_nothing(registry: Any, name: str) -> None:
    part = registry.find(name)(**OPTIONS.get(name, {}))
    part.load = lambda: pytest.fail("a model was loaded")
    with pytest.raises(RuntimeError, match=r"call start\(\) first"):
        USES[registry](part)


def test_a_model_is_loaded_once_and_released() -> None:
    class Counting(Loaded[list[int]]):
        loads = 0

        def load(self) -> list[int]:
            self.loads += 1
            return []  # a model may be false

    part = Counting()
    part.start()
    assert part.loaded is part.loaded
    assert part.loads == 1
    part.stop()
    with pytest.raises(RuntimeError, match="Counting has no model"):
        _ = part.loaded
