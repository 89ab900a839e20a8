"""Makes strangers' text safe for prompts: removes what has a meaning to a model, and finds instructions to it.

The same rules serve alt-text, text read in images, and everything else that is put into a slot of a prompt.
"""

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

from kale_tasks.text.needed import AnyOf
from kale_tasks.text.words import expressions, pairs, pattern

# Control tokens of chat templates (whatever their names), tags, the delimiter of our own prompts, and roles. A run of
# one sign is looked at from its beginning only, and taken whole: else a long one costs the square of its length.
_TOKENS = re.compile(
    r"<\|[^<>|]{0,60}\|?>|(?<!<)<++/?[^\W\d][^<>]{0,60}>+"
    r"|\[/?(?:INST|IMG|AUDIO|THINK|ARGS|CALL_ID|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|SYSTEM_PROMPT|MODEL_SETTINGS)\]"
    r"|\[/[A-Z_]+\]|\[[A-Z]+(?:_[A-Z0-9]+)+\]"
    r"|(?<!#)#{2,}+\s*+(?:system|instructions?|input|user|human|assistant|response)\b:?"
    r"|(?<=\n)[^\S\n]*+(?:system|user|human|assistant|model)\s*:",
    re.IGNORECASE,
)
_ROUNDS = 8  # of taking out tokens: what is taken out may leave another one
_BEGINNINGS = str.maketrans("<[#\n", "    ")
_LOOKALIKES = str.maketrans(pairs("lookalikes"))
_LEET = str.maketrans("013457@$", "oieastas")
_BRACKETS = str.maketrans("\u27e8\u27e9\u2039\u203a\u3008\u3009", "<><><>")
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}|(?:[0-9a-fA-F]{2}){16,}")
_SEPARATOR = re.compile(r"(?<=\b\w)[ .-](?=\w\b)")  # between single letters
_SPACED = re.compile(r"(?<!\w)(?:\w[ .\-_]){4,}\w(?!\w)")
_JOINERS = "\u200c\u200d"  # part of the spelling of some languages and of emoji


def tame(text: str) -> str:
    """Make a text safe for a prompt: one line, no invisible characters, no control tokens of chat templates."""
    if not text:
        return ""
    plain = text
    if not text.isascii() and _TOKENS.search(folded := _Folded.of(text).text) and not _TOKENS.search(text):
        plain = folded  # tokens in disguise: full-width, with invisible characters, with letters of other scripts
    for _ in range(_ROUNDS):
        if (bare := _TOKENS.sub(" ", plain)) == plain:
            break
        plain = bare
        if not plain.isascii() and _TOKENS.search(folded := _Folded.of(plain).text):
            plain = folded
    else:  # nested so deeply that it is an attack
        plain = _Folded.of(plain).text.translate(_BEGINNINGS)
    visible = "".join(c if c.isprintable() or c in _JOINERS else " " for c in plain)
    return " ".join(visible.split())


def find_orders(text: str) -> int | None:
    """Return where a text begins to give instructions to a model, or None if it does not.

    Instructions are found in several languages and through disguises: characters that look like others, full-width and
    invisible ones, spaced letters, digits for letters, reversed text, ROT13, percent-encoding and Base64.
    """
    starts = [view.places[at] for view in _views(text) if (at := _order(view.text)) is not None]
    starts += [match.start() for match in _ENCODED.finditer(text) if _hidden_text(match[0])]
    if "%20" in text and _order(unquote(text)) is not None:
        starts.append(text.rfind(" ", 0, text.find("%20")) + 1)
    if not starts and (match := _orders().search(text[::-1])):
        starts.append(len(text) - match.end())
    return min(starts, default=None)


def readings(text: str) -> Iterator[str]:
    """Yield a text that gives instructions as it is, without its disguise, and decoded."""
    folded = _Folded.of(text).text
    yield from (text, folded, folded.translate(_LOOKALIKES), unquote(text))
    yield from (view.text for view in _views(text) if _order(view.text) is not None)
    yield from (hidden for match in _ENCODED.finditer(text) if (hidden := _hidden_text(match[0])))
    if _order(text[::-1]) is not None:
        yield text[::-1]


@cache
def _orders() -> AnyOf:
    dismissals, instructions = pattern("dismissals").pattern, pattern("instructions").pattern
    both = [f"(?:{one}).{{0,60}}(?:{other})" for one, other in ((dismissals, instructions), (instructions, dismissals))]
    return AnyOf([*expressions("orders"), *both])


def _order(text: str) -> int | None:
    match = _orders().search(text)
    return match.start() if match else None


@dataclass(frozen=True)
class _Folded:
    """A text as it looks to a reader, with the place that each character had before."""

    text: str
    places: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "_Folded":
        found, places = [], []
        for at, letter in enumerate(text):
            if unicodedata.category(letter) in ("Cf", "Mn") and letter not in "\n":
                continue
            for plain in unicodedata.normalize("NFKC", letter).translate(_BRACKETS):
                found.append(plain)
                places.append(at)
        return cls("".join(found), tuple(places))

    def changed(self, text: str) -> "_Folded":
        """The same places with another text of equal length."""
        return _Folded(text, self.places)

    def kept(self, wanted: Iterable[int]) -> "_Folded":
        """Only the characters at these places of the folded text."""
        indices = list(wanted)
        return _Folded("".join(self.text[i] for i in indices), tuple(self.places[i] for i in indices))


def _views(text: str) -> Iterator[_Folded]:
    plain = _Folded(text, tuple(range(len(text))))
    folded = plain if text.isascii() else _Folded.of(text)
    yield folded
    if not text.isascii():
        yield plain  # the vowel signs of some scripts are marks, which folding removes
        yield folded.changed(folded.text.translate(_LOOKALIKES))
    if _SPACED.search(folded.text):
        removed = {match.start() for match in _SEPARATOR.finditer(folded.text)}
        yield folded.kept(at for at in range(len(folded.text)) if at not in removed)
    if any(letter.isdigit() for letter in folded.text):
        yield folded.changed(folded.text.translate(_LEET))
    yield folded.changed(codecs.encode(folded.text, "rot13"))


def _hidden_text(encoded: str) -> str:
    """The text of several words that Base64 or hexadecimal digits decode to; empty if they do not."""
    decoders: tuple[Callable[[], bytes], ...] = (
        lambda: base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True),
        lambda: bytes.fromhex(encoded),
    )
    for decode in decoders:
        try:
            plain = decode().decode()
        except (binascii.Error, ValueError):
            continue
        if plain.isprintable() and plain.count(" ") >= 2:
            return plain
    return ""
