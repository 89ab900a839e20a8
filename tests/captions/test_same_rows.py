"""Shipped recipes write the texts that they wrote before their passes became steps, word for word.

The hashes were computed with the code before that, with the same server.
"""

import hashlib
import json
import re
import zlib
from random import Random
from typing import Any

import pytest
from aiohttp import web

from tests.captions.conftest import Opener
from tests.captions.world import KEY, give, pairs, run_captions
from tests.engines.server import completion, prompt_of, serving

FROZEN = {
    "kale": "c638862e963796de",
    "dense-only": "2d278e21700d37bf",
    "capsfusion": "86af6eb7397bc917",
}
ENDINGS = (
    "",
    " It was built by Zorkan in 1733.",
    " The sky is clear.",
    " A guide named Quellmar waits.",
    " **It** is old.",
)


def answer(body: dict[str, Any]) -> web.Response:
    """A text that depends on prompt, image and seed alone: some refuse, some invent facts, some have markup."""
    known = json.dumps([body["messages"], body["seed"], body["temperature"]], sort_keys=True)
    chance = Random(zlib.crc32(known.encode()))
    alt = re.search(r"<alt>(.*?)</alt>", prompt_of(body), re.DOTALL)
    thing = chance.choice(("a red tower", "a small house", "two trees", "an old bridge"))
    text = f"The background is white and bright. There is {thing} near the water. A second one is smaller and far away."
    if alt and alt[1].strip():
        text += f" It is {alt[1].strip().rstrip('.')}."
    if chance.random() < 0.08:
        text = "I'm sorry, I cannot describe this image."
    return completion(text + chance.choice(ENDINGS))


@pytest.mark.parametrize("recipe", FROZEN)
def test_texts_are_what_they_were(opened: Opener, recipe: str) -> None:
    with serving(reply=answer) as server:
        lake, settings = opened(f"caption.recipe={recipe}", server=server)
        give(lake, settings, pairs(30))
        run_captions(lake, settings)
    rows = sorted(lake.arrow("captions", KEY).to_pylist(), key=lambda row: row["uid"])
    made = json.dumps([[row[name] for name in ("uid", "dense_caption", "caption")] for row in rows])
    assert len(rows) >= 17
    assert hashlib.sha256(made.encode()).hexdigest()[:16] == FROZEN[recipe]
