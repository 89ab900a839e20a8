"""What is asked of whole columns never differs from what is asked of each text."""

import random
import re

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.ingest.facts import all_facts, facts_of
from kale_tasks.ingest.normalize import fold, repair, repair_all
from kale_tasks.ingest.suspects import suspects, without_lookarounds
from kale_tasks.resources import resource
from kale_tasks.urls import normal_url
from tests.ingest.truth import FIRST, lines

PATTERNS = yaml.safe_load(resource("config/ingest/patterns.yaml").read_bytes())
ALL = [*PATTERNS["placeholder"], *PATTERNS["spam"], *PATTERNS["pii"].values()]
WORDS = "buy Cheap online call tel: 555 +44 (212) 0147 20 7946 jane@mail.example 4111 naïve 50 % off é hd IMG_2"
SIGNS = "ab9 .,:/-+#$%^'\"|<>~()_"


def made(letters: str, seed: int, count: int) -> list[str]:
    """Return random texts that are rich in signs."""
    chance = random.Random(seed)
    return ["".join(chance.choices(letters, k=chance.randint(1, 14))) for _ in range(count)]


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (r"(?<![\w)])a(?!b(?:c)\))d", "ad"),
        (r"(a|[)(]\))(?=x)", r"(a|[)(]\))"),
        (r"\(?(?:\d{3})(?<=\d)", r"\(?(?:\d{3})"),
        (r"[]a](?!x)", "[]a]"),
    ],
)
def test_lookarounds_are_left_out(pattern: str, left: str) -> None:
    assert without_lookarounds(pattern) == left


@given(st.lists(st.lists(st.sampled_from(WORDS.split()), max_size=6).map(" ".join), min_size=1, max_size=20))
def test_a_text_that_a_shipped_pattern_matches_is_a_suspect(texts: list[str]) -> None:
    for pattern in ALL:
        found = suspects(pattern, pa.array(texts, pa.string()))
        assert all(found[n] for n, text in enumerate(texts) if re.search(pattern, text, re.I))


def test_every_text_is_a_suspect_of_a_pattern_that_columns_do_not_know() -> None:
    assert suspects(r"(\w)\1", pa.array(["a", "bb"])) == [True, True]


@pytest.mark.parametrize("strict", [True, False])
def test_facts_of_many_texts_are_those_of_each(strict: bool) -> None:
    known = [(repair(line.text), line.host) for line in lines(FIRST)][::4]
    known += [(repair(text), "") for text in made(SIGNS, 1, 4000) + made("ab photo of stock hd 9-|", 2, 4000)]
    texts, hosts = zip(*((text, host) for text, host in known if text), strict=True)
    folded = [fold(text) for text in texts]
    assert list(all_facts(texts, folded, hosts, strict=strict)) == [
        facts_of(text, host, strict=strict) for text, host in zip(texts, hosts, strict=True)
    ]


@given(st.lists(st.text(max_size=40), max_size=10))
def test_repair_of_many_texts_is_that_of_each(texts: list[str]) -> None:
    assert repair_all(texts) == [repair(text) for text in texts]


@pytest.mark.parametrize("url", ["http://a.example/x", "https://www.A-b.example/%7Ex/(1).jpg", "http://www.example/"])
def test_the_short_way_to_the_normal_form_is_the_long_one(url: str) -> None:
    assert normal_url(url) == normal_url(url + "#")
