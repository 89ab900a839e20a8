"""The sheet for people: sentences of captions to judge in any spreadsheet, read back with the agreement of readers.

A CSV file with the columns uid, recipe, sentence (its number from 0), verdict (right, wrong or unsure) and reader, and
behind them what a reader needs to see. The caption's recipe is named, so hide that column before you read.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kale_tasks.errors import BadData
from kale_tasks.evaluate.agreement import agreement_interval, kappa, kappa_interval
from kale_tasks.evaluate.intervals import mean
from kale_tasks.lake.hashing import short_sha256
from kale_tasks.text.sentences import sentences

VERDICTS = ("right", "wrong", "unsure")
KEYS = ("uid", "recipe", "sentence", "verdict", "reader")
SHOWN = ("text", "alt_text", "dense_caption", "url")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would calculate a cell that begins so


def draw(captions: Iterable[Mapping[str, Any]], rows: int, seed: int = 0) -> list[Mapping[str, Any]]:
    """Draw captions for a sheet: as many of each recipe, and of the same images where recipes share them."""
    by_recipe: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in captions:
        by_recipe[row["recipe"]].append(row)
    found = []
    for number, recipe in enumerate(sorted(by_recipe)):
        share = rows // len(by_recipe) + (number < rows % len(by_recipe))
        found += sorted(by_recipe[recipe], key=lambda row: short_sha256(f"{seed} {row['uid']}"))[:share]
    return sorted(found, key=lambda row: (short_sha256(f"{seed} {row['uid']}"), row["recipe"]))


def write(captions: Iterable[Mapping[str, Any]]) -> str:
    """Return the sheet as CSV, a line for each sentence."""
    out = io.StringIO()
    table = csv.DictWriter(out, [*KEYS, *SHOWN], lineterminator="\n")
    table.writeheader()
    for row in captions:
        seen = {name: _safe(row.get(name) or "") for name in SHOWN[1:]}
        for number, sentence in enumerate(sentences(row["caption"] or "")):
            own = {"uid": row["uid"], "recipe": row["recipe"], "sentence": number, "text": _safe(sentence.strip())}
            table.writerow({**own, **seen, "verdict": "", "reader": ""})
    return out.getvalue()


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def read(text: str, name: str = "sheet") -> list[dict[str, str]]:
    """Read the verdicts of a sheet; sentences without one are left out. BadData names the line that is wrong."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := set(KEYS) - set(rows.fieldnames or ()):
        raise BadData(f"{name} has no column '{min(missing)}'. Export a sheet again, and keep its first line.")
    found = []
    for row in rows:
        verdict = (row["verdict"] or "").strip().lower()
        if not verdict:
            continue
        if verdict not in VERDICTS:
            raise BadData(f"{name}:{rows.line_num}: '{verdict}' is no verdict. Write {', '.join(VERDICTS)}.")
        if not (row["reader"] or "").strip():
            raise BadData(f"{name}:{rows.line_num}: nobody is named as reader. Fill in the column `reader`.")
        found.append({column: (row[column] or "").strip() for column in KEYS} | {"verdict": verdict})
    return found


def summarize(verdicts: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return what the verdicts say: the share of wrong sentences of each recipe, and how far readers agree.

    A reader's last verdict on a sentence counts. Without two readers of the same sentences there is no kappa.
    """
    latest = {(row["uid"], row["recipe"], row["sentence"], row["reader"]): row["verdict"] for row in verdicts}
    if not latest:
        raise BadData("No sentence has a verdict. Fill in the columns `verdict` and `reader`.")
    by_sentence: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (uid, recipe, sentence, _), verdict in sorted(latest.items()):
        by_sentence[uid, recipe, sentence].append(verdict)
    twice = [given for given in by_sentence.values() if len(given) > 1]
    return {
        "readers": len({reader for *_, reader in latest}),
        "captions": len({(uid, recipe) for uid, recipe, _ in by_sentence}),
        "sentences": len(by_sentence),
        "judged twice": len(twice),
        "kappa": round(kappa(twice), 3) if twice else None,
        "kappa interval": [round(end, 3) for end in kappa_interval(twice)] if twice else None,
        "agreement interval": [round(end, 3) for end in agreement_interval(twice)] if twice else None,
        "recipes": [_recipe_row(recipe, by_sentence) for recipe in sorted({recipe for _, recipe, _ in by_sentence})],
    }


def _recipe_row(recipe: str, by_sentence: Mapping[tuple[str, str, str], Sequence[str]]) -> dict[str, Any]:
    own = {place: Counter(given) for place, given in by_sentence.items() if place[1] == recipe}
    wrong = [given["wrong"] / given.total() for given in own.values()]
    estimate = mean(wrong, [uid for uid, _, _ in own])
    low, high = estimate.interval()
    return {
        "recipe": recipe,
        "captions": len({uid for uid, _, _ in own}),
        "sentences": len(own),
        "wrong": round(estimate.value, 4),
        "low": round(max(0.0, low), 4),
        "high": round(min(1.0, high), 4),
        "unsure": round(sum(given["unsure"] for given in own.values()) / sum(g.total() for g in own.values()), 4),
    }
