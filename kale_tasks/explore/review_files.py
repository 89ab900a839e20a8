"""Captions for people to judge elsewhere, and what they said: files for Argilla, Label Studio and spreadsheets.

Every file names the caption by uid, side and a hash of its text. A judgement on a caption that has changed since is
left out on import.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kale_tasks.errors import BadConfig
from kale_tasks.lake import reviews
from kale_tasks.lake.reviews import EDIT, PREFERENCE, SENTENCE, Review
from kale_tasks.lake.tables import Lake
from kale_tasks.text.sentences import sentences

VERDICTS = ("right", "wrong", "unsure")
_SENTENCES = 40  # of a caption
_EDIT = "edit"
_NAMES = ("uid", "key", "side", "of")
_CSV = (*_NAMES, "sentence", "text", "value", "edit")


@dataclass(frozen=True)
class Task:
    """A caption to judge."""

    uid: str
    key: str
    side: str
    of: str
    alt_text: str
    dense_caption: str
    caption: str

    @property
    def sentences(self) -> list[str]:
        """Its sentences, as they are numbered in verdicts."""
        return [one.strip() for one in sentences(self.caption)[:_SENTENCES]]

    @property
    def name(self) -> dict[str, str]:
        """What names it in a file."""
        return {"uid": self.uid, "key": self.key, "side": self.side, "of": self.of}


@dataclass(frozen=True)
class Imported:
    """What an import has stored, and what it has left out."""

    stored: int
    changed: int  # judgements on captions that are others by now
    unknown: int  # judgements on rows that are not in the lake

    def as_json(self) -> dict[str, int]:
        """The counts by name."""
        return dict(vars(self))


def tasks(lake: Lake, key: str, recipe: str, rows: int) -> list[Task]:
    """The first captions of a key by uid, of a recipe, of both stages: a fair sample."""
    columns = ["uid", "stage", "recipe", "alt_text", "dense_caption", "caption"]
    found = lake.arrow("captions", key, columns, slice_={"recipe": recipe}).sort_by("uid").slice(0, rows)
    return [_task(row, key) for row in found.to_pylist() if row["caption"]]


def _task(row: Mapping[str, Any], key: str) -> Task:
    texts = {name: row[name] or "" for name in ("alt_text", "dense_caption", "caption")}
    return Task(row["uid"], key, f"{row['recipe']}/{row['stage']}", reviews.hash_of(texts["caption"]), **texts)


def _to_argilla(found: Iterable[Task]) -> str:
    """One record a line, as `rg.Dataset.records.from_json` and `log` take it."""
    lines = []
    for task in found:
        numbered = "\n".join(f"{n}. {text}" for n, text in enumerate(task.sentences, 1))
        fields = {"alt_text": task.alt_text, "dense_caption": task.dense_caption, "caption": numbered}
        suggestions = {_EDIT: {"value": task.caption}}
        record = {"id": f"{task.uid}:{task.side}", "fields": fields, "metadata": task.name, "suggestions": suggestions}
        lines.append(json.dumps(record, ensure_ascii=False))
    return "\n".join([*lines, ""])


def _to_label_studio(found: Iterable[Task]) -> str:
    """A list of tasks, whose data name a sentence each as `sentence_0`, `sentence_1`, ..."""
    made = []
    for task in found:
        numbered = {f"sentence_{n}": text for n, text in enumerate(task.sentences)}
        texts = {"alt_text": task.alt_text, "dense_caption": task.dense_caption, "caption": task.caption}
        made.append({"data": {**task.name, **texts, **numbered}})
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"


def _to_csv(found: Iterable[Task]) -> str:
    """A row for each sentence, with empty columns for the verdict, and for the whole caption as it should be."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _CSV, lineterminator="\n")
    writer.writeheader()
    for task in found:
        for number, text in enumerate(task.sentences):
            writer.writerow({**task.name, "sentence": number, "text": _no_formula(text), "value": "", "edit": ""})
    return out.getvalue()


def _no_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text of the web for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _of_argilla(text: str, by: str) -> Iterator[Review]:
    for record in _json_lines(text):
        name = {known: record["metadata"][known] for known in _NAMES}
        for question, answers in (record.get("responses") or {}).items():
            for answer in answers:
                who = str(answer.get("user_id") or by)
                yield from _judged(name, question, answer["value"], who, "argilla")


def _of_label_studio(text: str, by: str) -> Iterator[Review]:
    for task in json.loads(text):
        name = {known: task["data"][known] for known in _NAMES}
        for annotation in task.get("annotations") or ():
            who = annotation.get("completed_by")
            person = who.get("email") if isinstance(who, dict) else who
            for result in annotation.get("result") or ():
                value = result["value"].get("choices") or result["value"].get("text") or [""]
                said = value[0] if isinstance(value, list) else value
                yield from _judged(name, result["from_name"], said, str(person or by), "label-studio")


def _of_csv(text: str, by: str) -> Iterator[Review]:
    rows = csv.DictReader(io.StringIO(text))
    if lacking := set(_CSV) - set(rows.fieldnames or ()):
        raise ValueError(f"no column {', '.join(sorted(lacking))}")
    for row in rows:
        yield from _judged(row, f"sentence_{row['sentence']}", row["value"], by, "csv")
        yield from _judged(row, _EDIT, row["edit"], by, "csv")


def _judged(name: Mapping[str, Any], question: str, value: Any, by: str, source: str) -> Iterator[Review]:
    """Yield the judgement that an answer to a question is: `sentence_N` or `edit`; nothing for other questions."""
    said = str(value or "").strip()
    known = {"uid": name["uid"], "key": name["key"], "side": name["side"], "of": name["of"], "by": by, "source": source}
    number = question.removeprefix("sentence_")
    if question == _EDIT and said:
        yield Review(**known, kind=EDIT, text=said)
    elif question.startswith("sentence_") and number.isdigit() and said in VERDICTS:
        yield Review(**known, kind=SENTENCE, sentence=int(number), value=said)


def _json_lines(text: str) -> list[dict[str, Any]]:
    whole = text.strip()
    return list(json.loads(whole)) if whole.startswith("[") else [json.loads(line) for line in whole.splitlines()]


Writer = Callable[[Iterable[Task]], str]
Reader = Callable[[str, str], Iterator[Review]]
FORMATS: Mapping[str, tuple[Writer, Reader]] = {
    "argilla": (_to_argilla, _of_argilla),
    "label-studio": (_to_label_studio, _of_label_studio),
    "csv": (_to_csv, _of_csv),
}


def read_judgements(text: str, form: str, by: str) -> list[Review]:
    """Read what people said from a file; BadConfig if it is not of that form."""
    try:
        return list(FORMATS[form][1](text, by))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadConfig(
            f"This is no {form} file of judgements ({type(error).__name__}: {error}). Export one with `kale review "
            f"export --format {form}`, and keep its columns of names."
        ) from error


def store(lake: Lake, judged: Sequence[Review]) -> Imported:
    """Store judgements on captions that are as they were judged."""
    stored = changed = unknown = 0
    for key in sorted({one.key for one in judged}):
        of_key = [one for one in judged if one.key == key]
        known = _hashes(lake, key, {one.uid for one in of_key})
        good = [one for one in of_key if known.get((one.uid, one.side)) == one.of]
        unknown += sum((one.uid, one.side) not in known for one in of_key)
        changed += sum(known.get((one.uid, one.side), one.of) != one.of for one in of_key)
        reviews.add(lake, key, good)
        stored += len(good)
    return Imported(stored, changed, unknown)


def preferences(lake: Lake, key: str) -> Iterator[dict[str, Any]]:
    """Yield the votes on a key as preference data, those whose texts are in the lake as they were judged."""
    votes = [row for row in reviews.read(lake, key).to_pylist() if row["kind"] == PREFERENCE and row["value"] != "tie"]
    texts = _texts(lake, key, {row["uid"] for row in votes})
    for row in votes:
        sides = [texts.get((row["uid"], row[name])) for name in ("side", "against")]
        if all(sides) and reviews.hash_of(*map(str, sides)) == row["of"]:
            better, worse = sides if row["value"] == "side" else sides[::-1]
            names = [row["side"], row["against"]][:: 1 if row["value"] == "side" else -1]
            yield {
                "uid": row["uid"], "key": key, "chosen": better, "rejected": worse, "chosen_from": names[0],
                "rejected_from": names[1], "by": row["by"], "at": row["at"].isoformat(timespec="seconds"),
            }  # fmt: skip


def _hashes(lake: Lake, key: str, uids: set[str]) -> dict[tuple[str, str], str]:
    return {name: reviews.hash_of(text) for name, text in _texts(lake, key, uids).items()}


def _texts(lake: Lake, key: str, uids: set[str]) -> dict[tuple[str, str], str]:
    """The texts of rows by uid and side."""
    if not uids or "captions" not in lake.tables():
        return {}
    from pyiceberg.expressions import In

    rows = lake.arrow(
        "captions", key, ["uid", "recipe", "stage", "caption", "dense_caption"], In(term="uid", literals=uids)
    )
    found = {}
    for row in rows.to_pylist():
        side = f"{row['recipe']}/{row['stage']}"
        found[row["uid"], side] = row["caption"] or ""
        found[row["uid"], f"{side}/dense"] = row["dense_caption"] or ""
    return found
