"""The report on an evaluation: one HTML page, the same as Markdown, and all figures as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kale_tasks.charts import intervals
from kale_tasks.evaluate.analysis import Answers, summary
from kale_tasks.evaluate.design import Design
from kale_tasks.evaluate.runs import Evaluation
from kale_tasks.quality.html import render

_TESTS = {"differs": "differ from", "not inferior": "lose little against", "equivalent": "are equivalent to"}


def write_report(of: Evaluation) -> dict[str, Any]:
    """Write the report on what is answered so far. Return its figures and the address of the page."""
    found = summary(Answers(of.answers()), of.design, of.figures())
    sentences = {name: sentence(of.design, name, rows) for name, rows in found["outcomes"].items()}
    accuracy = intervals(
        {row["arm"]: (row["primary"], row["low"], row["high"]) for row in found["arms"]}, "accuracy", "points"
    )
    pictures = {
        name: intervals({row["arm"]: (row["difference"], row["low"], row["high"]) for row in rows}, name, "points")
        for name, rows in found["outcomes"].items()
        if rows
    }
    page = render(
        "evaluation.html", name=of.name, found=found, sentences=sentences, accuracy=accuracy, pictures=pictures
    )
    files = {"report.html": page, "report.md": markdown(found, sentences), "report.json": json.dumps(found, indent=1)}
    for name, text in files.items():
        of.storage.put(f"{of.folder}/{name}", text.encode())
    return {"report": of.storage.uri(f"{of.folder}/report.html"), "sentences": sentences, **found}


def sentence(design: Design, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Say which arms show what an outcome asks for, and which do not."""
    outcome = design.outcomes()[name]
    shown = [row["arm"] for row in rows if row["p (Holm)"] < design.alpha]
    rest = [row["arm"] for row in rows if row["arm"] not in shown]
    asked = f"Which arms {_TESTS[outcome.test]} {outcome.baseline} on {', '.join(outcome.questions)}"
    within = f" (margin {100 * outcome.margin:g} points)" if outcome.margin else ""
    return f"{asked}{within}? Shown: {', '.join(shown) or 'none'}. Not shown: {', '.join(rest) or 'none'}."


def markdown(found: Mapping[str, Any], sentences: Mapping[str, str]) -> str:
    """Return the tables as Markdown."""
    parts = [table(found["arms"])]
    parts += [f"**{name}.** {sentences[name]}\n\n{table(rows)}" for name, rows in found["outcomes"].items() if rows]
    parts.append(f"Seeds of an arm deviate by {found['seed deviation']} points.\n\n{table(found['needed'])}")
    return "\n\n".join(filter(None, parts)) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return records as a Markdown table."""
    if not rows:
        return ""
    numbers = [isinstance(value, int | float) for value in rows[0].values()]
    head = [" | ".join(map(str, rows[0])), " | ".join("---:" if number else "---" for number in numbers)]
    lines = [*head, *(" | ".join(map(str, row.values())) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)
