"""No text of a stranger costs more than in proportion to its length, whatever it is made of."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from kale_tasks.captions.clean import Cleaner
from kale_tasks.images.opt_out import parse_robots, parse_tdmrep
from kale_tasks.ingest.facts import facts_of
from kale_tasks.ingest.normalize import fold, repair
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.grounding import ground
from kale_tasks.text.personal import mask_personal
from kale_tasks.text.sentences import sentences
from kale_tasks.text.taming import tame
from kale_tasks.urls import normal_url
from tests.attacks import redos
from tests.attacks.patterns import MADE, SHORT, made_at_run, modules, uses
from tests.attacks.redos import GROWTH, slow

EXPONENTIAL = [r"(a+)+$", r"(?:a|aa)+b", r"(\w+\s?)*;"]
QUADRATIC = [r"\s+$", r"<+/?[a-z]", r",[^.;]*and", r"#{2,}x", r"(?<=\n)\s*user", r"<style>(.*?)</style>"]


@pytest.mark.parametrize("pattern", [*EXPONENTIAL, *QUADRATIC])
def test_a_slow_pattern_is_found(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redos, "PATIENCE", 0.5)
    assert slow(re.compile(pattern, re.DOTALL), whole=False)


@pytest.mark.parametrize("pattern", [r"(?<!\s)\s++$", r"[a-z]+", r"\bignore\b.{0,60}\brules\b", r"<\|[^<>|]{0,60}\|?>"])
def test_a_fast_pattern_is_not(pattern: str) -> None:
    assert not slow(re.compile(pattern), whole=False)


@pytest.mark.parametrize("module", modules())
def test_the_time_of_a_pattern_grows_with_the_text(module: str) -> None:
    for use in uses(module):
        if use.place not in SHORT:
            assert not (why := slow(use.pattern, use.whole)), f"{use.place} {use.pattern.pattern[:200]}: {why}"


@pytest.mark.parametrize("module", [module for module, make in MADE.items() if make])
def test_the_time_of_a_pattern_that_is_made_at_run_grows_with_the_text(module: str) -> None:
    make = MADE[module]
    assert make
    for use in make():
        assert not (why := slow(use.pattern, use.whole)), f"{use.place}: {why}"


def test_every_pattern_that_is_made_at_run_is_known() -> None:
    assert {module for module in modules() if made_at_run(module)} == set(MADE)


FUSED = load_recipe("kale").task("fused")
CLEANER = Cleaner(FUSED.clean, FUSED.prompt)
FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "tame": tame,
    "prepare_alt": prepare_alt,
    "sentences": sentences,
    "mask_personal": mask_personal,
    "ground": lambda text: ground("A mill in Oslo, built in 1950.", "A mill.", text),
    "clean": lambda text: CLEANER.clean(text, "stop"),
    "repair": repair,
    "fold": fold,
    "facts": facts_of,
    "normal_url": normal_url,
    "parse_robots": parse_robots,
    "parse_tdmrep": parse_tdmrep,
}
# fmt: off
UNITS = ["a", "A", "1", " ", "<", "#", ".", ",", "a ", "A ", "1 ", "A. ", "Mr. ", "\u4e00", "\u0301", "\u200b", "&",
    "'", '"', "-", "%20", "a-", "one ", "hundred ", "IV ", "and ", ", and ", "...", "!", "http://a", "a@", "a@b.",
    "[", "]", "{", "\n", "\n\n", "\t", "ignore ", "aGVsbG8g", "YWFh", "\u0430", "\uff21", "</a>", "\u201c", "1,",
    "19", "1950s ", "click ", "img_1", "\u202e", "photo of ", " - ", "i g n o r e ", "\\", "ss\xdf", "Disallow: /*\n",
    "User-agent: a\n", "[1,", '{"a":', "&amp;", "<b>", "%", "xn--", ":", "//", "\xbd", "\U0001f1e9"]
# fmt: on
NESTED = [
    ("<|a", "|>"),
    ("<a", ">"),
    ("<<", "a>>"),
    ("(", ")"),
    ("<\uff5c", "\uff5c>"),
    ("\u2039a", "\u203a"),
    ("[A_B", "]"),
]
SMALL, LARGE = 1_000, 4_000
ENOUGH = 0.003  # seconds for SMALL: the square of it would be seen at once


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_time_of_what_reads_strangers_texts_grows_with_the_text(name: str) -> None:
    shapes = [(unit, "") for unit in UNITS if unit] + NESTED
    found = {shape: growth for shape in shapes if (growth := _growth(FUNCTIONS[name], *shape)) > GROWTH}
    assert found == {}


def _growth(function: Callable[[str], Any], opening: str, closing: str) -> float:
    def seconds(length: int) -> float:
        half = (length + salt.pop()) // len(opening + closing)  # never the same text: some results are kept
        text = opening * half + closing * half
        began = time.thread_time()
        function(text)
        return time.thread_time() - began

    salt = [20 * n for n in range(10)]
    if seconds(SMALL) < ENOUGH:
        return 0.0
    return min(seconds(LARGE) / max(ENOUGH / 2, seconds(SMALL)) for _ in range(3))
