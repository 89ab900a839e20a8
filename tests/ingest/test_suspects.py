"""What is asked of whole columns never differs from what is asked of each text."""

import random
import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kale_tasks.ingest.facts import all_facts, facts_of
from kale_tasks.ingest.limits import missed_by_text
from kale_tasks.ingest.normalize import fold, fold_all, hash64, hash64_all, repair, repair_all
from kale_tasks.ingest.rules import PairRow, PlaceholderText
from kale_tasks.ingest.suspects import suspects, without_lookarounds
from kale_tasks.resources import resource
from kale_tasks.urls import normal_url, normal_urls
from tests.ingest.truth import FIRST, lines
from tests.ingest.world import settings_for

PATTERNS = yaml.safe_load(resource("config/ingest/patterns.yaml").read_bytes())
ALL = [*PATTERNS["placeholder"], *PATTERNS["spam"], *PATTERNS["pii"].values()]
WORDS = "buy Cheap online call tel: 555 +44 (212) 0147 20 7946 jane@mail.example 4111 naïve 50 % off é hd IMG_2"
OFF = [f"ingest.rules.{name}=null" for name in ("min_words", "max_words", "min_chars", "max_chars", "max_repetition")]
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
    known += [(repair(text), "") for text in made("the an and 7", 3, 4000)]
    texts, hosts = zip(*((text, host) for text, host in known if text), strict=True)
    folded = [fold(text) for text in texts]
    assert all_facts(texts, folded, hosts, strict=strict) == [
        facts_of(text, host, strict=strict) for text, host in zip(texts, hosts, strict=True)
    ]


@given(st.lists(st.text(max_size=40), max_size=10))
def test_repair_of_many_texts_is_that_of_each(texts: list[str]) -> None:
    assert repair_all(texts) == [repair(text) for text in texts]


@given(st.lists(st.text(max_size=40) | st.text(" aB9_-~.", max_size=20), max_size=10))
def test_folding_many_texts_folds_each(texts: list[str]) -> None:
    repaired = [repair(text) for text in texts]
    assert fold_all(repaired) == [fold(text) for text in repaired]
    assert hash64_all(repaired).tolist() == [hash64(text.encode()) for text in repaired]


HOSTS = "www. www.www. a.example www.a-b.example.com www.example WWW.a.example user@a.example a.example:80"


@given(st.lists(st.tuples(st.sampled_from(HOSTS.split()), st.text("/aB9%?#. é", max_size=12)), max_size=8))
def test_normal_forms_of_many_urls_are_those_of_each(parts: list[tuple[str, str]]) -> None:
    urls = [f"{scheme}://{host}{path}" for scheme in ("http", "https", "ftp") for host, path in parts]
    assert normal_urls(urls) == [normal_url(url) for url in urls]


@given(st.lists(st.sampled_from([*WORDS.split(), "image", "1 of 2", "IMG_2.jpg", '"a', "...", "[x]"]), max_size=8))
def test_a_placeholder_is_a_suspect(words: list[str]) -> None:
    rule = PlaceholderText(PATTERNS["placeholder"])
    texts = [*words, " ".join(words), f" -{''.join(words)}.."]
    column = pa.array(texts, pa.string())
    for text, asked in zip(texts, rule.suspects(column, column), strict=True):
        assert asked or not rule(PairRow("0" * 32, "a.example", "a.example/1", "", text, fold(text), "en"))


def test_the_first_limit_that_a_text_misses_is_named() -> None:
    rules = settings_for(Path(), "ingest.rules.max_words=4").ingest.rules
    known = [
        ("a bee", "too_few_words"),
        ("a b c", "too_short"),
        ("a b c d e", "too_many_words"),
        (f"{'a' * 997} b c", "too_long"),
        (f"{'a' * 996} b c", None),
        ("tick tick Tick!", "repetition"),
        ("", "too_few_words"),
    ]
    texts, missed = (list(column) for column in zip(*known, strict=True))
    assert missed_by_text(texts, fold_all(texts), rules) == missed
    assert missed_by_text(texts, fold_all(texts), settings_for(Path(), *OFF).ingest.rules) == [None] * len(texts)


@pytest.mark.parametrize("url", ["http://a.example/x", "https://www.A-b.example/%7Ex/(1).jpg", "http://www.example/"])
def test_the_short_way_to_the_normal_form_is_the_long_one(url: str) -> None:
    assert normal_url(url) == normal_url(url + "#")
