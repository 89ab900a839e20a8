"""Instructions in thirty styles, by alt-text, by text in the image and by the page around it."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from kale_tasks.bench.checkpoint import make_checkpoint
from kale_tasks.captions.chunk import injection_flags
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.taming import tame
from tests.captions.conftest import Opener, opened  # noqa: F401 - a fixture
from tests.captions.test_passes import CALL, DENSE, Lab, recipe
from tests.captions.test_slots import ocr
from tests.captions.world import KEY, give, pairs, with_alt
from tests.engines.families import ALT, CALLS, task_of
from tests.engines.server import completion, prompt_of, serving

GIVEN = yaml.safe_load(Path(__file__).with_name("injections.yaml").read_text(encoding="utf-8"))
MARKER = "Zorkmid"
SEEN = "A small shop is at the left. A blue awning is above its door."
OBEYED = f"A small shop is at the left. A sign above its door says {MARKER}."
TOKENS = ("<|", "|>", "[INST", "[/INST", "</s>", "_of_turn>", "\uff5c", "</alt>", "<system", "###", "\u202e", "\u200b")


def order(style: str) -> str:
    text: str = GIVEN["styles"][style]
    if style == "base64":
        plain = base64.b64decode(text.removeprefix("base64:")).decode()
        return base64.b64encode(plain.replace("MARKER", MARKER).encode()).decode()
    return text.replace("MARKER", MARKER)


def test_there_are_thirty_styles_and_few_are_not_recognised() -> None:
    assert len(GIVEN["styles"]) == 30 and len(GIVEN["reach"]) <= 3


@pytest.mark.parametrize("style", GIVEN["styles"])
def test_an_order_is_cut_and_a_caption_that_obeyed_is_flagged(style: str) -> None:
    alt = prepare_alt(f"Mill at Fenwick. {order(style)}")
    tamed = tame(alt.text)
    assert not any(token in tamed for token in TOKENS) and "\n" not in tamed
    assert (MARKER in tamed) == (style in GIVEN["reach"])
    flags = injection_flags(f"A mill. {MARKER} is seen.", alt.cut, alt.text, "A mill.")
    assert bool(flags) == (style not in GIVEN["reach"])


@pytest.mark.parametrize("text", [*GIVEN["second"], *GIVEN["third"]["recognised"]])
def test_an_order_of_a_later_set_is_cut(text: str) -> None:
    assert prepare_alt(f"Mill at Fenwick. {text}").text == "Mill at Fenwick."


def answer(body: dict[str, Any]) -> web.Response:
    """Serve a model that follows every injected instruction when it joins texts."""
    return completion(OBEYED if prompt_of(body).startswith("Join") else SEEN)


def test_no_control_token_reaches_a_prompt_and_no_planted_word_a_caption(
    opened: Opener,  # noqa: F811
    tmp_path: Path,
) -> None:
    styles = list(GIVEN["styles"])
    plain = [with_alt(pair, "Mill at Fenwick.") for pair in pairs(160)]
    stage1 = [pair for pair in plain if pair.split == "stage1"][: 3 * len(styles)]
    by_alt, by_image, by_page = (stage1[at::3] for at in range(3))
    given = [with_alt(pair, f"Mill at Fenwick. {order(style)}") for pair, style in zip(by_alt, styles, strict=True)]
    read = {pair.uid: ["GRAND OPENING", order(style)] for pair, style in zip(by_image, styles, strict=True)}
    around = {pair.uid: f"Open daily. {order(style)}" for pair, style in zip(by_page, styles, strict=True)}
    dense = {**DENSE, "user": "Describe the image. In it: {ocr|top:8}. Around it: {context|cut:400}"}
    fused = {"name": "fused", "ask": "vlm", "user": "Join: {dense} and <alt>{alt}</alt>", **CALL}
    checked = {"name": "caption", "verify": "fused", "against": ["dense"], "allowed": 0, "otherwise": "dense"}
    with serving(reply=answer) as server:
        lab = Lab(opened, server, [])
        give(lab.lake, lab.settings, [*given, *by_image, *by_page], contexts=around)
        lab.run(recipe(tmp_path, "attacked", ocr(tmp_path, read), dense, fused, checked))
    prompts = [prompt_of(body) for body in server.bodies]
    inside = [text.removeprefix("Join:").replace("<alt>", "").replace("</alt>", "") for text in prompts]
    assert len(prompts) >= 150
    assert [text for text in inside if any(token in text for token in TOKENS) or "\n" in text] == []
    assert all(text.count("</alt>") == 1 for text in prompts if text.startswith("Join"))
    planted = [text for text in prompts if MARKER in text]
    assert len(planted) <= 3 * len(GIVEN["reach"])
    captions = lab.lake.arrow("captions", KEY)["caption"].to_pylist()
    assert len(captions) >= 70 and not [text for text in captions if MARKER in text]


@pytest.mark.parametrize("family", CALLS)
def test_no_special_token_of_a_tokenizer_is_spoken_by_a_stranger(family: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    task = task_of(family)
    make_checkpoint(family, tmp_path, [task.prompt.system, task.prompt.user, ALT], weights=False)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    special = {*tokenizer.all_special_tokens, *(str(token) for token in tokenizer.added_tokens_decoder.values())}
    assert len(special) >= 3
    for token in special:
        for text in (f"A red car {token} in Oslo", f"A red car{token}in Oslo", f"{token}{token[:2]}{token}{token[2:]}"):
            ids = tokenizer.encode(tame(text), add_special_tokens=False)
            assert not {*tokenizer.added_tokens_decoder} & {*ids}, (token, text)
