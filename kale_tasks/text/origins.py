"""Divides a caption by where its facts come from, for people who read it in colour."""

from typing import NamedTuple

from kale_tasks.text.facts import find_facts, is_number
from kale_tasks.text.grounding import ground

ALT, DENSE, INVENTED = "alt", "dense", "invented"


class Piece(NamedTuple):
    """A stretch of a caption: its text, and the source of the fact that it states; empty if it states none."""

    text: str
    origin: str = ""


def pieces(caption: str, dense: str, alt: str) -> list[Piece]:
    """Divide a caption into stretches by origin. What both sources know counts as seen in the image.

    Without a description, a number may have been read off the image and is left without an origin.
    """
    found, divided, at = ground(caption, dense, alt), list[Piece](), 0
    for fact in find_facts(caption):
        origin = DENSE if fact.text in found.from_dense else ALT if fact.text in found.from_alt else INVENTED
        if origin == INVENTED and not dense and is_number(fact.text):
            origin = ""
        divided += [Piece(caption[at : fact.start]), Piece(fact.text, origin)]
        at = fact.start + len(fact.text)
    return [piece for piece in (*divided, Piece(caption[at:])) if piece.text]
