"""The mean log-probability of an answer is kept where a recipe asks for it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from aiohttp import web

from kale_tasks.engines.chat_api import read_completion
from kale_tasks.engines.transformers import recorder
from kale_tasks.recipes.recipe import load_recipe
from tests.captions.conftest import Opener, opened  # noqa: F401 - a fixture
from tests.captions.world import KEY, give, give_dense, pairs, run_captions
from tests.engines.server import serving


def test_means_are_those_of_the_tokens_that_were_chosen() -> None:
    steps = torch.log(torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.25, 0.75], [0.2, 0.8]]]))  # step, row, token
    noted, ids = recorder(), torch.zeros((2, 1), dtype=torch.long)
    for step, chosen in zip(steps, torch.tensor([[0, 1], [1, 1]]), strict=True):
        noted(ids, step)
        ids = torch.cat([ids, chosen[:, None]], dim=1)
    found = noted.means([[0, 1], [1, 1]], [2, 1])
    assert found == [pytest.approx((torch.log(torch.tensor(0.5)) + torch.log(torch.tensor(0.75))).item() / 2),
                     pytest.approx(torch.log(torch.tensor(0.1)).item())]  # fmt: skip


def test_a_server_says_it_and_captions_have_it(opened: Opener, tmp_path: Path) -> None:  # noqa: F811
    demo = yaml.safe_load(Path("config/recipes/demo.yaml").read_text(encoding="utf-8"))
    demo["passes"][1]["confidence"] = True
    (tmp_path / "sure.yaml").write_text(yaml.safe_dump(demo), encoding="utf-8")

    def reply(body: dict[str, Any]) -> web.Response:
        message = {"content": "A small red tower is at the left. The background is plain white."}
        tokens = [{"logprob": -0.5}, {"logprob": -1.5}] if body.get("logprobs") else None
        choice = {"message": message, "finish_reason": "stop", "logprobs": tokens and {"content": tokens}}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})

    with serving(reply=reply) as server:
        lake, settings = opened(f"caption.recipe={tmp_path / 'sure.yaml'}", server=server)
        given = [pair for pair in pairs(12) if pair.split == "stage1"]
        give(lake, settings, given)
        give_dense(lake, settings, given)
        run_captions(lake, settings, after="dense")
    rows = lake.arrow("captions", KEY).to_pylist()
    fused = [row for row in rows if "alt_noise" not in row["flags"]]
    assert fused and {row["confidence"] for row in fused} == {-1.0}
    assert load_recipe("demo").task("fused").confidence is False


def test_a_completion_without_log_probabilities_has_no_confidence() -> None:
    choice = {"message": {"content": "Text."}, "finish_reason": "stop"}
    assert read_completion(1, json.loads(json.dumps({"choices": [choice]})), 9).confidence is None
