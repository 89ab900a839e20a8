"""The desk of `dense`: images in, descriptions out."""

from kale_tasks.captions.handler import Desk, flags_of, image_rows, spent
from kale_tasks.captions.stream import Draft, Item, Refused, Row, Verdict
from kale_tasks.engines.base import Answer
from kale_tasks.text.alttext import prepare_alt


class DenseDesk(Desk):
    """Images of stage 1 in, descriptions out."""

    table = "dense"

    def draft(self, number: int) -> Draft:
        """Read a part's images; what is not of stage 1 is dropped."""
        read, dropped, rows = image_rows(self, number, {"stage1": ""}, "not_stage1")
        pairs = self.pairs_of([row["uid"] for row in rows]) if self.task.prompt.wants_alt else {}

        def ask(row: Row, image: bytes) -> Item:
            alt = prepare_alt((pairs.get(row["uid"]) or {}).get("alt_text")).text
            return Item(row["uid"], self.task.prompt.messages(alt=alt, image=True), image)

        return Draft(number, read, self.picture_items(rows, ask), dropped)

    def judge(self, item: Item, answer: Answer) -> Verdict:
        """A row of `dense`, unless the cleaning left nothing."""
        cleaned = self.cleaned(answer)
        if cleaned.refused:
            return self.verdict(Refused(cleaned.refused), answer, cleaned)
        row = {
            **self.made_by(),
            **spent(answer),
            "uid": item.uid,
            "text": cleaned.text,
            "model": self.model.name,
            "flags": flags_of(item, answer, cleaned),
        }
        return self.verdict(row, answer, cleaned)
