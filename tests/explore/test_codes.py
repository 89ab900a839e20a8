"""`kale explain` knows every code of the registries, and none that is gone."""

import re
from pathlib import Path

import pytest

from kale_tasks.captions.clean import RULES as CLEANING
from kale_tasks.engines import base as engines
from kale_tasks.explore import codes
from kale_tasks.images.reasons import Reason
from kale_tasks.ingest.rules import OTHER_RULES, RULES
from tests.kale import kale

ROOT = Path(__file__).parents[2]
SOURCES = "\n".join(path.read_text("utf-8") for path in (ROOT / "kale_tasks").rglob("*.py"))
ANSWERS = {value for name, value in vars(engines).items() if name.isupper() and isinstance(value, str)}


def test_every_reason_of_an_image_is_explained() -> None:
    assert set(codes.texts()["images"]) == set(Reason)


def test_every_rule_of_ingest_is_explained() -> None:
    assert set(codes.texts()["rules"]) == {*RULES.names, *OTHER_RULES}


def test_every_reason_for_which_an_answer_is_refused_is_explained() -> None:
    assert set(codes.texts()["answers"]) >= {*CLEANING, *ANSWERS}


@pytest.mark.parametrize("section", ["records", "answers", "passes", "flags"])
def test_no_code_is_explained_that_the_source_does_not_have(section: str) -> None:
    made = {"alt_orders", "context_orders", "text_orders", "not_stage1", "not_holdout"}  # of a name and a constant
    gone = [code for code in codes.texts()[section] if f'"{code}"' not in SOURCES and code not in made]
    assert not gone


def test_every_rule_by_which_passes_drop_rows_is_explained() -> None:
    named = set(re.findall(r'dropped\["([a-z_]+)"\]', SOURCES))
    assert named and named <= set(codes.texts()["passes"]) | {"image_broken"}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("robots_disallowed", "reason of an image", "Respect it"),
        ("near_duplicate", "rule of ingest", "ingest.dedup.near"),
        ("3", "exit code", "breaks a rule"),
        ("130", "exit code", "ctrl-C"),
        ("invented_share", "check", "Facts come from a source"),
        ("uid_unique", "check", "Every uid is unique"),
    ],
)
def test_a_code_is_explained_with_what_to_do(code: str, kind: str, words: str) -> None:
    answer = kale("explain", code)
    assert answer.code == 0 and kind in answer.out and words in answer.out, answer.err
    assert any(one["kind"] == kind for one in kale("explain", code, "--json").json)


def test_a_mistyped_code_gets_a_suggestion_and_all_are_listed() -> None:
    answer = kale("explain", "robots_disalowed")
    assert (answer.code, "Did you mean 'robots_disallowed'?" in answer.err) == (2, True)
    listed = {row["code"] for row in kale("explain", "--json").json}
    assert listed >= {*Reason, *OTHER_RULES, "0", "6", "yield_share", "rows_missing"}


def test_settings_that_an_explanation_names_exist() -> None:
    from kale_tasks.settings.load import setting_names

    names = set(setting_names())
    text = " ".join(f"{one.means} {one.do}" for one in codes.quick_codes())
    named = set(re.findall(r"\b(?:ingest|images|caption)\.[a-z_]+(?:\.[a-z_0-9]+)*", text))
    unknown = [n for n in named if n not in names and not any(n.startswith(f"{known}.") for known in names)]
    assert named and not unknown
