"""Which students the promotion gate refuses, on real texts: `python -m bench.gate`.

Reads real alt-texts with a short caption and a fusion of both, which are not part of this repository. Rows are divided
by a hash: the limits were fixed on one half, the page is of the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from bench.frame import Page
from bench.rewrites import DAMAGED, HARMLESS, rewritten
from bench.verification import Triplet, triplets
from kale_tasks.distill.dataset import CaptionSample
from kale_tasks.distill.gate import Measured, PromotionVerdict, promotion_verdict
from kale_tasks.lake.shards import Span
from kale_tasks.likeness.metrics import measure, measure_teacher
from kale_tasks.likeness.wording import Wording
from kale_tasks.settings import load
from kale_tasks.text.sentences import is_whole

FIGURES = ("facts_carried", "attributes_wrong", "facts_invented", "description", "repetition", "cut_off")
ROWS = 100  # captions of each half
JOINED = 3  # rows of about 22 words that make a caption as long as those of a production
SHARES = (1.0, 0.5, 0.25)  # of the captions that have the fault
ABOUT = """
Each caption is three real fusions joined, about 70 words; so are its alt-text and its description. A student writes its
teacher's captions with one fault, in all of them, in half or in a quarter; or it says the same in other words. Instead
of the teacher at another seed, which these texts lack, the measure of likeness is the teacher's captions with synonyms,
another order of words and another order of sentences at once. Limits are those of `config/kale.yaml`.
"""


def samples(*, seen: bool) -> list[CaptionSample]:
    """The samples of one half of the rows: of that on which limits were fixed, or of the other."""
    rows = [row for row in triplets() if row.seen == seen]
    return [_sample(rows[at : at + JOINED]) for at in range(0, len(rows) - JOINED + 1, JOINED)]


class Trial:
    """Students that rewrite the captions of one half of the rows, before the gate with the limits of the settings."""

    def __init__(self, given: Sequence[CaptionSample]) -> None:
        self.given, self._wording, self._again = given, Wording(), in_other_words(given)
        self._teacher = measure_teacher(given, self._wording, self._again)
        self._gate = load(environ={"KALE_PROFILE": "laptop"}).settings.distill.gate

    def student(self, name: str, share: float = 1.0) -> tuple[PromotionVerdict, Measured]:
        """Let a student rewrite this share of the captions. Return the verdict on it and its figures."""
        rewrite = {**DAMAGED, **HARMLESS}[name]
        student = self._measured(rewritten(rewrite, self.given, Random(name), share))
        return promotion_verdict(student, self._teacher, None, self._gate), student

    def _measured(self, texts: Sequence[str]) -> Measured:
        return measure(texts, self.given, self._wording, self._again)


def in_other_words(given: Sequence[CaptionSample]) -> dict[str, str]:
    """The captions in other words, in place of those of the teacher at another seed."""
    texts = list(given)
    for name in ("synonyms", "other word order", "other sentence order"):
        made = rewritten(HARMLESS[name], texts, Random("again"))
        texts = [replace(one, caption=text) for one, text in zip(texts, made, strict=True)]
    return {one.uid: one.caption for one in texts}


def _sample(rows: Sequence[Triplet]) -> CaptionSample:
    captions = [row.caption if is_whole(row.caption) else f"{row.caption}." for row in rows]
    return CaptionSample(
        rows[0].name, "; ".join(row.alt for row in rows), " ".join(row.short for row in rows), " ".join(captions),
        0, (), Span("", 0, 0),
    )  # fmt: skip


def main() -> None:
    """Write bench/gate.md."""
    page, trials = (
        Page("gate", "Which students the promotion gate refuses", ABOUT),
        [Trial(samples(seen=seen)[:ROWS]) for seen in (True, False)],
    )
    first, other = (len(trial.given) for trial in trials)
    page.text(
        f"{first} captions of the half on which limits were fixed, {other} of the other. Figures are those of a\n"
        "student with the fault in all captions of the other half."
    )
    header = ["student", *FIGURES, "verdict, first half", *(f"other half, {share:.0%}" for share in SHARES)]
    page.table(header, [_row(trials, name) for name in (*DAMAGED, *HARMLESS)])
    page.write()


def _row(trials: Sequence[Trial], name: str) -> list[str]:
    first, other = trials
    _, figures = other.student(name)
    verdicts = [first.student(name)[0], *(other.student(name, share)[0] for share in SHARES)]
    return [
        name, *(f"{figures[figure].value:.3f}" for figure in FIGURES),
        *("accepted" if verdict.accepted else "refused" for verdict in verdicts),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
