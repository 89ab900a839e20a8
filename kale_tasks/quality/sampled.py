"""Compares captions of stage 2 with those that the teacher wrote of a sample of the same images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kale_tasks.lake.partition import Partition
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.models import students
from kale_tasks.quality.suite import Limit, Subject
from kale_tasks.recipes.files import SAMPLED, variant_of
from kale_tasks.text.alttext import prepare_alt

_MOST = 500  # captions of a key that are compared: each takes the text encoder some 30 ms
_FIGURES = {
    "student_carried_drift": "The student carries as many facts as at its gate",
    "student_attributes_drift": "The student names as few wrong colours as at its gate",
    "student_likeness_drift": "The student's captions are as like the teacher's as at its gate",
}


@dataclass(frozen=True)
class _Sample:
    uid: str
    alt: str
    dense: str
    caption: str


def beside_sample(subject: Subject) -> dict[str, float | None]:
    """How much worse than at its gate a student does on a sample that its teacher has captioned, beyond chance.

    Nothing is known without a sample, or of a student whose gate measured less.
    """
    pairs = list(islice(_pairs(subject), _MOST))
    gate = _at_gate(subject) if pairs else {}
    if not gate:
        return dict.fromkeys(_FIGURES)
    from kale_tasks.likeness.metrics import interval, measure
    from kale_tasks.likeness.wording import Wording  # imports torch

    found = measure([text for text, _ in pairs], [sample for _, sample in pairs], Wording(), {})
    bounds = {name: interval(found[name]) for name in ("facts_carried", "attributes_wrong", "alike")}
    return {
        "student_carried_drift": max(0.0, gate["facts_carried"] - bounds["facts_carried"][1]),
        "student_attributes_drift": max(0.0, bounds["attributes_wrong"][0] - gate["attributes_wrong"]),
        "student_likeness_drift": max(0.0, 1 - bounds["alike"][1] / gate["alike"]) if gate["alike"] > 0 else None,
    }


def sample_limits(subject: Subject) -> list[Limit]:
    """The checks on these figures."""
    gap, note = subject.limit.student_gap, f"on up to {_MOST} captions that the teacher wrote, too"
    return [Limit(name, "critical", says, high=gap, note=note) for name, says in _FIGURES.items()]


def _pairs(subject: Subject) -> Iterator[tuple[str, _Sample]]:
    """Yield the student's caption of an image and what the teacher wrote about it, as long as the image is the same."""
    recipe = variant_of(str(subject.spec.recipe), SAMPLED)
    partition = Partition.of("captions", subject.key, {"recipe": recipe, "stage": 1})
    opened = subject.lake.opened(partition)
    if opened is None:
        return
    columns = ["uid", "sha256", "alt_text", "dense_caption", "caption"]
    for batch in Snapshot(subject.lake.storage, partition, *opened).batches(columns):
        theirs = {row["uid"]: row for row in batch.to_pylist() if row["caption"]}
        if not theirs:
            continue
        for row in subject.rows.between(min(theirs), max(theirs), ["sha256", "caption"]).to_pylist():
            other = theirs.get(row["uid"])
            if other and other["sha256"] == row["sha256"] and row["caption"]:
                alt = prepare_alt(other["alt_text"]).useful
                yield row["caption"], _Sample(row["uid"], alt, other["dense_caption"] or "", other["caption"])


def _at_gate(subject: Subject) -> Mapping[str, Any]:
    """The figures of the student at its gate; empty if they are not known."""
    names = subject.rows.read(0, 1, ["models"])["models"].to_pylist()[0] or [""]
    version = names[0].removeprefix(students.NAMED)
    known = next((one.metrics for one in students.versions(subject.lake) if one.version == version), {})
    found: Mapping[str, Any] = known.get("student", {})
    return found if {"facts_carried", "attributes_wrong", "alike"} <= found.keys() else {}
