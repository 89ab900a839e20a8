"""Slots of prompts, such as `{alt}`, `{top[0]}` or `{ocr|top:8}`: what they name, and how they are filled."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from kale_tasks.text.taming import tame

# Names that every row has, besides those of passes.
COLUMNS = {
    "alt": "alt-text of the pair",
    "context": "text around the image on its page",
    "other_alt": "alt-text of another pair, for placebos",
}
_SLOT = re.compile(r"\{(?P<name>[a-z][a-z0-9_]*)(?:\[(?P<index>\d+)\])?(?P<filters>(?:\|[^{}|]+)*)\}")
_LIKE_SLOT = re.compile(r"\{\s*[A-Za-z_]\w*\s*(?:[\[|][^{}]*)?\}")


class SlotText(NamedTuple):
    """One text that a pass wrote for a row, with its score if it has one."""

    text: str
    score: float | None = None


SlotValue = str | Sequence[SlotText]


@dataclass(frozen=True)
class Slot:
    """A slot as written: the name it reads, the text it takes of it (None: all), and its filters."""

    written: str
    name: str
    index: int | None
    filters: tuple[tuple[str, str], ...]

    def fill(self, value: SlotValue) -> str:
        """Return the text for the slot, safe for a prompt."""
        texts = [SlotText(value)] if isinstance(value, str) else list(value)
        if self.index is not None:
            texts = texts[self.index : self.index + 1]
        joiner, cut = ", ", None
        for name, argument in self.filters:
            if name == "join":
                joiner = argument.strip("\"'")
            elif name == "cut":
                cut = int(argument)
            else:
                texts = FILTERS[name](texts, argument)
        return joiner.join(filter(None, (tame(text) for text, _ in texts)))[:cut]


def slots(template: str) -> Iterator[Slot]:
    """Yield the slots of a template in order. Other braces are plain text."""
    yield from (part for part in _parts(template) if isinstance(part, Slot))


def fill(template: str, values: Mapping[str, SlotValue]) -> str:
    """Replace the slots of a template once; braces in the inserted texts have no effect. A missing value is empty."""
    return "".join(part if isinstance(part, str) else part.fill(values.get(part.name, "")) for part in _parts(template))


def slot_problems(template: str) -> Iterator[str]:
    """Say what is wrong with the slots of a template, and which braces look like a slot and are none."""
    for match in _LIKE_SLOT.finditer(template):
        if not _SLOT.fullmatch(match[0]):
            yield f"'{match[0]}' is no slot: write {{name}}, {{name[0]}} or {{name|filter:value}}, names in lower case"
    for slot in slots(template):
        for name, argument in slot.filters:
            if name not in (*FILTERS, *_LAST):
                yield f"there is no filter '{name}'; filters: {', '.join((*FILTERS, *_LAST))}"
            elif name in _NUMBERS and not re.fullmatch(r"\d+(\.\d+)?" if name == "least" else r"[1-9]\d*", argument):
                yield f"the filter '{name}' takes a number, as in {{{slot.name}|{name}:{_NUMBERS[name]}}}"


@lru_cache(maxsize=256)
def _parts(template: str) -> tuple[Slot | str, ...]:
    """The slots of a template, and the plain texts between them."""
    found: list[Slot | str] = []
    end = 0
    for match in _SLOT.finditer(template):
        found += [template[end : match.start()], _slot(match)]
        end = match.end()
    return (*found, template[end:])


def _slot(match: re.Match[str]) -> Slot:
    parts = [part.partition(":") for part in match["filters"].split("|")[1:]]
    index = None if match["index"] is None else int(match["index"])
    return Slot(match[0], match["name"], index, tuple((name.strip(), argument) for name, _, argument in parts))


def _top(texts: list[SlotText], argument: str) -> list[SlotText]:
    return sorted(texts, key=lambda text: -(text.score or 0))[: int(argument)]


def _least(texts: list[SlotText], argument: str) -> list[SlotText]:
    return [text for text in texts if text.score is not None and text.score >= float(argument)]


def _counts(texts: list[SlotText], argument: str) -> list[SlotText]:
    counts = Counter(text.text for text in texts)
    return [SlotText(f"{count} {text}" if count > 1 else text) for text, count in counts.items()]


# Filters that choose among the texts of a slot; `join` and `cut` work on the chosen ones together.
FILTERS: dict[str, Callable[[list[SlotText], str], list[SlotText]]] = {"top": _top, "least": _least, "counts": _counts}
_LAST = ("join", "cut")
_NUMBERS = {"top": "8", "least": "0.5", "cut": "400"}  # filters whose argument is a number, with an example
