"""Carries over texts of the run that a run replaces: those for which the model would be asked the same again."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kale_tasks.captions.chunk import CaptionChunk
from kale_tasks.captions.rows import PendingPart, PendingRow, Row
from kale_tasks.errors import BadData


class FormerTexts:
    """The texts of the run to be replaced, found by a hash of what each was made from.

    Only rows that were made from an answer are carried over, never a failure: it is tried again. A row that was taken
    down is in no input and so is not looked for; if it was taken down since the plan, the commit leaves it out.
    """

    def __init__(self, work: CaptionChunk, step: str, version: int) -> None:
        former = work.run.former
        self._files = [replace(former, files=(file,)) for file in former.files] if former else []
        of = work.run.settings.caption
        # What is the same for all rows. Cleaning counts too, because only cleaned texts are kept.
        shared = [step, version, of.engine, work.model.name, work.task.semantic()]
        self._shared = hashlib.sha256(_json(shared)[:-1].encode(errors="surrogatepass"))

    def carry_over(self, part: PendingPart) -> None:
        """Give each row whose request is unchanged the outcome that it had."""
        asked = [row for row in part.rows if row.outcome is None]
        for row in asked:
            row.made_from = self._hash(row)
        known = self._texts(asked)
        for row in asked:
            if found := known.get(row.made_from):
                row.outcome = found
                row.image = None
                part.metrics["carried_over"] += 1

    def _hash(self, row: PendingRow) -> str:
        image = hashlib.sha256(row.image).hexdigest() if row.image is not None else None
        made = self._shared.copy()
        text = f", {_json([row.uid, row.candidate, row.messages, image, row.source])[1:]}"
        made.update(text.encode(errors="surrogatepass"))
        return made.hexdigest()[:32]

    def _texts(self, rows: Sequence[PendingRow]) -> dict[str, Row]:
        """Read the former texts of these rows; a file that is gone or damaged has none."""
        if not rows:
            return {}
        first, last = min(row.uid for row in rows), max(row.uid for row in rows)
        found: list[dict[str, Any]] = []
        for file in self._files:
            try:
                found += file.between(first, last).to_pylist()
            except BadData as error:
                logging.getLogger(__name__).warning("Nothing is carried over from a file. %s", error)
        return {row["made_from"]: row for row in found if row["made_from"]}


def _json(known: list[Any]) -> str:
    return json.dumps(known, sort_keys=True, ensure_ascii=False)
