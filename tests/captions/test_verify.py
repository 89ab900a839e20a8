"""What `verify` does with what no source supports, by each of its stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kale_tasks.errors import BadConfig
from kale_tasks.experts.base import SCORERS, Scorer
from kale_tasks.quality.suites.captions import FusedSuite
from kale_tasks.recipes.recipe import load_recipe
from tests.captions.conftest import Opener
from tests.captions.test_passes import CALL, DENSE, Lab, recipe
from tests.captions.world import KEY, pairs, run_step
from tests.engines.server import completion, prompt_of, serving

SEEN = "A red tower is at the left of the picture. A dog sleeps near the door."
FUSED = {"name": "fused", "ask": "vlm", "user": "{dense} <alt>{alt}</alt>", **CALL}
SAID = f"{SEEN} It was built in Atlantis by Zork. Nobody knows why."


class Shared(Scorer):
    """The share of a sentence's words that its source has."""

    def scores(self, pairs: Any) -> list[float]:
        return [len(set(b.split()) & set(a.split())) / len(set(b.split())) for a, b in pairs]


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCORERS._built_in, "shared", f"{__name__}:Shared")  # type: ignore[index]


def answer(body: dict[str, Any]) -> web.Response:
    return completion(SEEN if prompt_of(body).startswith("Describe") else SAID)


@pytest.fixture
def lab(opened: Opener) -> Any:
    with serving(reply=answer) as server:
        yield Lab(opened, server, [pair for pair in pairs(9) if pair.split == "stage1"])


def verified(lab: Lab, folder: Path, name: str, **more: Any) -> list[str]:
    caption = {"name": "caption", "verify": "fused", "against": ["dense"], "allowed": 0, **more}
    path = recipe(folder, name, DENSE, FUSED, caption)
    lab.run(path)
    return [row["text"] for row in lab.texts(path, "caption")]


def test_each_stage_takes_out_what_it_finds(lab: Lab, tmp_path: Path) -> None:
    whole = f"{SEEN} Nobody knows why."
    assert set(verified(lab, tmp_path, "rules")) == {whole}
    assert set(verified(lab, tmp_path, "scorer", by="shared", least=0.6)) == {SEEN}
    assert set(verified(lab, tmp_path, "words", words=["dog", "cat"], facts=False)) == {SAID}
    assert set(verified(lab, tmp_path, "planted", words=["dog", "atlantis"], facts=False)) == {whole}


def test_a_list_names_what_is_unsupported(lab: Lab, tmp_path: Path) -> None:
    unsaid = {"name": "unsaid", "verify": "fused", "against": ["dense"], "otherwise": "list"}
    named = recipe(
        tmp_path, "named", DENSE, FUSED, unsaid,
        {"name": "caption", "ask": "vlm", "user": "Rewrite {fused} without {unsaid}", **CALL},
    )  # fmt: skip
    asked = lab.run(named)
    assert {row["text"] for row in lab.texts(named, "unsaid")} == {"Atlantis", "Zork"}
    assert any(prompt.endswith("without Atlantis, Zork") for prompt in asked)


def test_a_fragment_falls_back_to_the_description(lab: Lab, tmp_path: Path) -> None:
    longer: Mapping[str, Any] = {**FUSED, "clean": {"min_words": 20}}
    path = recipe(tmp_path, "short", DENSE, longer, {"name": "caption", "verify": "fused", "against": ["dense"],
                                                     "allowed": 0})  # fmt: skip
    lab.run(path)
    assert {row["text"] for row in lab.texts(path, "caption")} == {SEEN}
    assert all("fallback_dense" in row["flags"] for row in lab.texts(path, "caption"))


def test_alt_text_that_is_published_as_it_is_passes_the_checks(lab: Lab, tmp_path: Path) -> None:
    path = recipe(
        tmp_path, "plain", DENSE, {"name": "caption", "pick": ["alt", "dense"], "mix": {"alt": 9, "dense": 1}}
    )
    lab.run(path)
    settings = lab.settings.with_values({"caption": {"recipe": str(path)}})
    run_step("fuse", lab.lake, settings)
    rows = lab.lake.arrow("captions", KEY).to_pylist()
    taken = [row for row in rows if "alt_as_is" in row["flags"]]
    assert taken and all(row["caption"] == row["alt_text"] and not row["models"] for row in taken)
    found = FusedSuite().features(lab.lake.arrow("captions", KEY))
    assert not any(found["nameless"].to_pylist()) and not any(found["unexplained"].to_pylist())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"by": "shared"}, "`by` needs `least`"),
        ({"judge": "dense"}, "'dense' is no pass with `schema: .unsupported.`"),
    ],
)
def test_a_stage_that_lacks_something_is_named(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    path = recipe(tmp_path, "odd", DENSE, FUSED, {"name": "caption", "verify": "fused", "against": ["dense"], **more})
    with pytest.raises(BadConfig, match=message):
        load_recipe(str(path))
