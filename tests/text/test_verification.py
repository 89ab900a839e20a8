"""Probes of the verification rules, and rates on real captions."""

from pathlib import Path

import pytest
import yaml

from kale_tasks.text.grounding import invented

PROBES = yaml.safe_load(Path(__file__).with_name("verification_probes.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("caption", "source", "unsaid"),
    [pytest.param(*probe, id=f"{kind}: {probe[0]}") for kind in PROBES for probe in PROBES[kind]],
)
def test_a_fact_is_unsupported_if_no_source_says_it(caption: str, source: str, unsaid: list[str]) -> None:
    assert invented(caption, "", source) == set(unsaid)
    assert invented(caption, source, "") == set(unsaid)
