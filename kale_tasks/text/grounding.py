"""Grounding: checks whether the sources of a caption support the facts that it states.

A source supports a name if it has each of its words: literally, inflected, mistyped, abbreviated, as a part of a longer
word (a hashtag, a file name), as an acronym, or in another script; names that names.yaml puts together support each
other as wholes. It supports a number however it is written. An acronym does not support its expansion: the model may
have guessed that.
"""

from collections.abc import Set
from dataclasses import dataclass

from kale_tasks.text.facts import facts
from kale_tasks.text.support import Source


@dataclass(frozen=True)
class Grounding:
    """The facts of a caption by source. A fact that both sources support is in both sets."""

    facts: Set[str]
    from_alt: Set[str]
    from_dense: Set[str]

    @property
    def invented(self) -> Set[str]:
        """The facts that neither source supports."""
        return self.facts - self.from_alt - self.from_dense


def ground(caption: str, dense: str, alt: str) -> Grounding:
    """Find the sources of each fact of a caption.

    A fact that only both sources together support counts as from the alt-text.
    """
    stated = facts(caption)
    alt_source, dense_source, joint_source = Source.of(alt), Source.of(dense), Source.of(f"{dense}\n{alt}")
    from_dense = frozenset(fact for fact in stated if dense_source.supports(fact))
    from_alt = frozenset(
        fact for fact in stated if alt_source.supports(fact) or (fact not in from_dense and joint_source.supports(fact))
    )
    return Grounding(stated, from_alt, from_dense)


def invented(caption: str, dense: str, alt: str) -> Set[str]:
    """Return the facts of a caption that neither its dense caption nor its alt-text supports."""
    return ground(caption, dense, alt).invented
