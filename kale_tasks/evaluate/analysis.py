"""What the answers of an evaluation show: accuracies, differences with intervals, verdicts, and what it could see."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kale_tasks.evaluate.design import Design, Outcome
from kale_tasks.evaluate.intervals import Estimate, Floats, Spread, crossed, equivalent, holm, not_inferior
from kale_tasks.evaluate.power import could_have_seen, questions_needed, seeds_needed


@dataclass(frozen=True)
class Compared:
    """An arm against the baseline of an outcome; `adjusted` is the p-value after Holm over the outcome's arms."""

    outcome: str
    arm: str
    baseline: str
    difference: Estimate
    p: float
    adjusted: float
    discordant: float
    visible: float  # the difference that would have been seen four times of five
    shown: bool
    verdict: str

    def row(self) -> dict[str, Any]:
        """The comparison as a row of a table, in points."""
        low, high = self.difference.interval()
        return {
            "arm": self.arm,
            "against": self.baseline,
            "difference": points(self.difference.value),
            "low": points(low),
            "high": points(high),
            "p": round(self.p, 4),
            "p (Holm)": round(self.adjusted, 4),
            "could see": points(self.visible),
            "verdict": self.verdict,
        }


class Answers:
    """Right and wrong answers by arm, seed and question. Only what all arms and seeds have answered counts."""

    def __init__(self, table: pa.Table) -> None:
        self._right: dict[tuple[str, int], dict[str, bool]] = defaultdict(dict)
        self.kinds, self._clusters = dict[str, str](), dict[str, str]()
        for row in table.select(["arm", "seed", "uid", "kind", "cluster", "right"]).to_pylist():
            self._right[row["arm"], row["seed"]][row["uid"]] = row["right"]
            self.kinds[row["uid"]], self._clusters[row["uid"]] = row["kind"], row["cluster"]

    @property
    def arms(self) -> list[str]:
        """The arms that have answers."""
        return list(dict.fromkeys(arm for arm, _ in self._right))

    def seeds(self, *arms: str) -> list[int]:
        """The seeds that all of these arms have."""
        return sorted(set.intersection(*({seed for one, seed in self._right if one == arm} for arm in arms)))

    def table(self, arm: str, kinds: Iterable[str], seeds: Sequence[int]) -> Floats:
        """Seeds by questions: 1 for a right answer."""
        uids = self.uids(kinds)
        return np.array([[float(self._right[arm, seed][uid]) for uid in uids] for seed in seeds])

    def uids(self, kinds: Iterable[str]) -> list[str]:
        """The questions of some kinds, in order."""
        wanted = set(kinds)
        return sorted(uid for uid, kind in self.kinds.items() if kind in wanted)

    def clusters(self, kinds: Iterable[str]) -> list[str]:
        """The cluster of each of these questions."""
        return [self._clusters[uid] for uid in self.uids(kinds)]

    def accuracy(self, arm: str, kinds: Sequence[str]) -> Estimate:
        """The share of right answers of an arm."""
        seeds = self.seeds(arm)
        return crossed(self.table(arm, kinds, seeds), self.clusters(kinds), self.spread(kinds, len(seeds), 1))

    def difference(self, arm: str, baseline: str, kinds: Sequence[str]) -> tuple[Estimate, float] | None:
        """The difference of two arms, and the share of questions that they answer differently; None without a seed
        that both have."""  # fmt: skip
        seeds = self.seeds(arm, baseline)
        if not seeds:
            return None
        first, second = (self.table(one, kinds, seeds) for one in (arm, baseline))
        spread = self.spread(kinds, len(seeds), 2)
        return crossed(first - second, self.clusters(kinds), spread), float(np.mean(first != second))

    def spread(self, kinds: Sequence[str], seeds: int, arms: int) -> Spread | None:
        """The variance over seeds of the sum of `arms` means, pooled over all arms, as in an analysis of variance.

        What arms of one seed share is not subtracted, which errs on the safe side.
        """
        freedom = sum(len(self.seeds(arm)) - 1 for arm in self.arms)
        return Spread(arms * self.deviation(self.arms, kinds) ** 2 / seeds, freedom) if freedom else None

    def deviation(self, arms: Sequence[str], kinds: Sequence[str]) -> float:
        """The standard deviation of an arm's accuracy over seeds, pooled over arms; NaN with one seed."""
        found = [
            self.table(arm, kinds, self.seeds(arm)).mean(1).var(ddof=1) for arm in arms if len(self.seeds(arm)) > 1
        ]
        return math.sqrt(np.mean(found)) if found else math.nan


def compare(answers: Answers, design: Design) -> list[Compared]:
    """Compare as the design says; arms without answers are left out."""
    return [
        one for name, outcome in design.outcomes().items() for one in _outcome(answers, name, outcome, design.alpha)
    ]


def _outcome(answers: Answers, name: str, outcome: Outcome, alpha: float) -> list[Compared]:
    arms = [arm for arm in outcome.arms if arm in answers.arms and outcome.baseline in answers.arms]
    found_by_arm = {arm: answers.difference(arm, outcome.baseline, outcome.questions) for arm in arms}
    differences = {arm: found[0] for arm, found in found_by_arm.items() if found}
    discordant = {arm: found[1] for arm, found in found_by_arm.items() if found}
    p_values = {arm: _p(difference, outcome) for arm, difference in differences.items()}
    adjusted = holm(p_values)
    found = []
    for arm, difference in differences.items():
        visible = could_have_seen(difference.error, difference.freedom)
        shown = adjusted[arm] < alpha
        verdict = _verdict(difference, outcome, shown, adjusted[arm], visible)
        found.append(
            Compared(name, arm, outcome.baseline, difference, p_values[arm], adjusted[arm], discordant[arm], visible,
                     shown, verdict)
        )  # fmt: skip
    return found


def _p(difference: Estimate, outcome: Outcome) -> float:
    if outcome.test == "not inferior":
        return not_inferior(difference, outcome.margin)
    return equivalent(difference, outcome.margin) if outcome.test == "equivalent" else difference.p_differs()


def _verdict(difference: Estimate, outcome: Outcome, shown: bool, p: float, visible: float) -> str:
    margin = f"{points(outcome.margin):g} points"
    if outcome.test == "not inferior":
        return f"loses less than {margin}" if shown else f"a loss of {margin} is not ruled out"
    if outcome.test == "equivalent":
        return f"equivalent within {margin}" if shown else f"equivalence within {margin} is not shown"
    if shown:
        return f"{'better' if difference.value > 0 else 'worse'} (p = {p:.2g})"
    reach = f"{points(visible):g} points" if math.isfinite(visible) else "any size"
    return f"no difference shown; one of {reach} would have been seen"


def summary(answers: Answers, design: Design, figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Everything that the report says, as plain values."""
    kinds = sorted(set(answers.kinds.values()))
    primary = design.primary.questions
    compared = compare(answers, design)
    deviation = answers.deviation(answers.arms, primary)
    return {
        "about": design.about,
        "hash": design.hash,
        "runs": len(figures),
        "planned": len(design.runs()),
        "questions": {kind: len(answers.uids([kind])) for kind in kinds},
        "arms": [_arm_row(answers, arm, primary, kinds, figures) for arm in answers.arms],
        "outcomes": {
            name: [one.row() for one in compared if one.outcome == name] for name in design.outcomes()
        },
        "seed deviation": points(deviation),
        "needed": _needed(deviation, compared),
        "cpu hours": round(sum(one["cpu_seconds"] for one in figures.values()) / 3600, 3),
    }  # fmt: skip


def _arm_row(
    answers: Answers, arm: str, primary: Sequence[str], kinds: Sequence[str], figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    own = [one for one in figures.values() if one["arm"] == arm]
    estimate = answers.accuracy(arm, primary)
    low, high = estimate.interval()
    return {
        "arm": arm,
        "words": own[0]["words"],
        "passes": own[0]["pretrain"]["passes"],
        "seeds": len(answers.seeds(arm)),
        "primary": points(estimate.value),
        "low": points(max(0.0, low)),
        "high": points(min(1.0, high)),
        "sd of seeds": points(answers.deviation([arm], primary)),
        **{kind: points(answers.accuracy(arm, [kind]).value) for kind in kinds},
        "CPU s": round(sum(one["cpu_seconds"] for one in own) / len(own)),
    }


def _needed(deviation: float, compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Questions and seeds that would show differences of these sizes, by the discordance and deviation seen here."""
    primary = [one for one in compared if one.outcome == "primary" and one.discordant > 0]
    if not primary or not math.isfinite(deviation):
        return []
    discordant = float(np.median([one.discordant for one in primary]))
    return [
        {
            "difference": points(size),
            "questions": questions_needed(size, max(discordant, size)),
            "seeds": seeds_needed(size, max(deviation, 1e-3), 0.0),
        }
        for size in (0.01, 0.02, 0.05)
    ]


def points(share: float) -> float:
    """A share in points, or NaN."""
    return round(100 * share, 2) if math.isfinite(share) else share
