"""What docs/scale.md says of costs is what the tables of bench/ say."""

import re

import pytest

from bench.quotes import PAGE, QUOTES, RATES, renewed_page, renewed_rates
from bench.scale import put_into


def test_the_page_shows_the_estimates_of_the_rates() -> None:
    page = PAGE.read_text("utf-8")
    assert put_into(page) == page, "run `python -m bench.results`"
    assert put_into(page.replace("| 1 M | kale | 1 |", "| 1 M | kale | 2 |", 1)) == page


def test_the_figures_of_the_page_are_those_of_the_tables() -> None:
    page = PAGE.read_text("utf-8")
    assert renewed_page(page) == page, "run `python -m bench.results`"


def test_the_rates_are_those_of_the_tables_that_they_name() -> None:
    rates = RATES.read_text("utf-8")
    assert renewed_rates(rates) == rates, "run `python -m bench.results`"


@pytest.mark.parametrize("said", [said for said, _, _ in QUOTES])
def test_another_figure_in_a_sentence_is_put_right(said: str) -> None:
    page = PAGE.read_text("utf-8")
    quoted = re.search(said.replace(" ", r"\s+"), page, re.DOTALL)
    assert quoted and quoted.groups()
    for group in range(1, len(quoted.groups()) + 1):
        wrong = f"{page[: quoted.start(group)]}7{quoted[group]}{page[quoted.end(group) :]}"
        assert renewed_page(wrong) == page


def test_another_rate_is_put_right() -> None:
    rates = RATES.read_text("utf-8")
    assert renewed_rates(re.sub(r"value: (\d)(.*?source: bench)", r"value: 7\1\2", rates)) == rates
