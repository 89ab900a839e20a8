"""The gate: whether a student may take the place of the one in use, and by how much it passed or failed."""

from dataclasses import dataclass

from kale_tasks.distill.evaluate import Figures
from kale_tasks.settings.distill import Gate


@dataclass(frozen=True)
class Verdict:
    """The gate's answer, in words that hold the figures."""

    accepted: bool
    text: str


def verdict(student: Figures, teacher: Figures, in_use: Figures | None, gate: Gate) -> Verdict:
    """Within its distance of the teacher, and better than the student in use if there is one."""
    gap = student.facts_invented - teacher.facts_invented
    agreement = student.description / max(teacher.description, 1e-9)
    checks = [
        (student.facts_carried >= gate.facts_carried,
         f"facts carried {student.facts_carried:.3f} of its teacher's, at least {gate.facts_carried:g} wanted"),
        (gap <= gate.facts_invented,
         f"facts invented {100 * gap:+.1f} points to its teacher's, at most {100 * gate.facts_invented:+.1f} allowed"),
        (agreement >= gate.description,
         f"description {agreement:.3f} of its teacher's, at least {gate.description:g} wanted"),
    ]  # fmt: skip
    if in_use is not None:
        new, old = score(student), score(in_use)
        checks.append((new > old, f"score {new:.3f}, more than {old:.3f} of the student in use wanted"))
    failed = [text for passed, text in checks if not passed]
    if failed:
        return Verdict(False, f"Too far off: {'; '.join(failed)}.")
    return Verdict(True, f"Good enough: {'; '.join(text for _, text in checks)}.")


def score(figures: Figures) -> float:
    """One figure to compare two students by: facts carried and description, less what is invented."""
    return (figures.facts_carried + figures.description) / 2 - figures.facts_invented
