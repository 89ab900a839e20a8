"""Tells for a whole column of texts in which of them a pattern may match, far faster than Python tells it one by one.

Arrow's regular expressions run in linear time, but know neither lookarounds nor letters outside ASCII.
"""

import pyarrow as pa
import pyarrow.compute as pc

_LOOKAROUNDS = ("(?=", "(?!", "(?<=", "(?<!")


def suspects(pattern: str, texts: pa.Array) -> list[bool]:
    """Return for each text False only if a Python pattern (case ignored) certainly matches nowhere in it."""
    try:
        found = pc.match_substring_regex(texts, without_lookarounds(pattern), ignore_case=True)
    except pa.ArrowInvalid:  # something else that Arrow does not know
        return [True] * len(texts)
    maybe: list[bool] = pc.or_(found, pc.invert(pc.string_is_ascii(texts))).to_pylist()
    return maybe


def without_lookarounds(pattern: str) -> str:
    """Return a pattern without its lookarounds. It matches wherever the pattern does, and perhaps elsewhere."""
    kept, at = "", 0
    while at < len(pattern):
        end = _end(pattern, at)
        if not pattern.startswith(_LOOKAROUNDS, at):
            end = at + 1 if pattern[at] == "(" else end
            kept += pattern[at:end]
        at = end
    return kept


def _end(pattern: str, at: int) -> int:
    """Return where the group, the set or the character that begins at a place ends."""
    if pattern[at] == "\\":
        return at + 2
    if pattern[at] == "[":
        end = at + 2 + (pattern[at + 1 : at + 2] == "^")  # a bracket that comes first is no end
        while end < len(pattern) and pattern[end] != "]":
            end += 1 + (pattern[end] == "\\")
        return end + 1
    if pattern[at] == "(":
        end = at + 1
        while end < len(pattern) and pattern[end] != ")":
            end = _end(pattern, end)
        return end + 1
    return at + 1
