"""The desk of `student`: images and alt-texts in, captions of stage 2 out."""

from kale_tasks.captions.handler import Desk, counted, flags_of, image_rows, sources, spent
from kale_tasks.captions.stream import Draft, Item, Refused, Row, Verdict
from kale_tasks.engines.base import Answer
from kale_tasks.text.alttext import prepare_alt
from kale_tasks.text.facts import is_number
from kale_tasks.text.grounding import ground


class StudentDesk(Desk):
    """Images of stage 2 and their alt-texts in, captions of stage 2 out."""

    def draft(self, number: int) -> Draft:
        """Read a part's images with their alt-texts; those of stage 1 and the holdout are dropped."""
        read, dropped, rows = image_rows(self, number, {"stage2": "", "holdout": "holdout"}, "not_stage2")
        pairs = self.pairs_of([row["uid"] for row in rows])
        whole = [row for row in rows if row["uid"] in pairs]
        dropped["no_pair"] = len(rows) - len(whole)

        def ask(row: Row, image: bytes) -> Item:
            alt = prepare_alt(pairs[row["uid"]]["alt_text"])
            flags = [*alt.instruction_flags, *alt.noise_flags]
            about = {**row, **pairs[row["uid"]], "alt": alt.useful, "flags": flags}
            return Item(row["uid"], self.task.prompt.messages(alt=about["alt"], image=True), image, about)

        return Draft(number, read, self.picture_items(whole, ask), dropped)

    def judge(self, item: Item, answer: Answer) -> Verdict:
        """A caption of stage 2, unless the cleaning left nothing."""
        about, cleaned = item.about, self.cleaned(answer)
        if cleaned.refused:
            return self.verdict(Refused(cleaned.refused), answer, cleaned)
        grounding = ground(cleaned.text, "", about["alt"])
        # Without a dense caption, a number may as well have been read off the picture: only names count as invented.
        invented = sum(not is_number(fact) for fact in grounding.invented)
        row = {
            **sources(about),
            **self.made_by(),
            **spent(answer),
            **counted(grounding),
            "stage": 2,
            "facts_from_dense": None,
            "facts_invented": invented,
            "caption": cleaned.text,
            "models": [self.model.name],
            "flags": [*about["flags"], *flags_of(item, answer, cleaned)],
        }
        return self.verdict(row, answer, cleaned)
