"""Orders and control tokens that the code was not written for: each is cut, and the word it wants is recognised."""

import base64
import codecs
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from kale_tasks.captions.chunk import injection_flags
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.taming import tame

LATER = yaml.safe_load(Path(__file__).with_name("later_payloads.yaml").read_text(encoding="utf-8"))
MARKER = "Zorkmid"
LOOKALIKES = str.maketrans("aeopcxyi", "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456")
DISGUISES: dict[str, Callable[[str], str]] = {
    "full-width letters": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "letters of another alphabet": lambda text: text.translate(LOOKALIKES),
    "zero-width characters": "\u200b".join,
    "joiners": "\u2060".join,
    "Base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal digits": lambda text: text.encode().hex(),
    "percent-encoding": quote,
    "ROT13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "spaced letters": lambda text: "  ".join(" ".join(word) for word in text.split()),
}


def assert_cut_and_flagged(order: str) -> None:
    """The order does not reach a prompt, and a caption that obeyed it is flagged; another one is not."""
    alt = prepare_alt(f"Mill at Fenwick. {order}")
    assert alt.text == "Mill at Fenwick."
    assert injection_flags(f"A mill. {MARKER} is seen.", alt.cut, alt.text, "A mill.") == ["injected"]
    assert injection_flags("A mill in Fenwick.", alt.cut, alt.text, "A mill.") == []


@pytest.mark.parametrize("order", [*LATER["plain"], *LATER["second"], *LATER["extended"]])
def test_an_order_in_the_open(order: str) -> None:
    assert_cut_and_flagged(order.replace("MARKER", MARKER))


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("order", LATER["disguised"])
def test_an_order_in_disguise(order: str, disguise: str) -> None:
    assert_cut_and_flagged(DISGUISES[disguise](order.replace("MARKER", MARKER)))


@pytest.mark.parametrize("family", LATER["families"])
def test_no_control_token_of_a_family_of_models_is_left(family: str) -> None:
    for token in LATER["families"][family]:
        for text in (
            f"A red car {token} in Oslo",
            f"A red car{token}in Oslo",
            f"A red car {DISGUISES['joiners'](token)}",
        ):
            tamed = tame(text)
            assert tamed.startswith("A red car") and not set("<>|[]\uff5c") & set(tamed), (token, tamed)
