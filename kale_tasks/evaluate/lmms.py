"""Asks a trained model the questions of lmms-eval's tasks, and ours as one of them, in an environment of its own.

`scripts/bench-env` makes that environment from lock/bench-lmms.txt. lmms-eval names no image in its samples, so the
questions of its own tasks count as independent of each other.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from kale_tasks.errors import BadConfig, BadData
from kale_tasks.evaluate.data import Question
from kale_tasks.evaluate.design import Runner

OWN = "kale_questions"  # the task that our questions are
# The functions of a task must be in a file beside its YAML. This one runs in the other environment, without KALE.
_FUNCTIONS = """
import io

from PIL import Image


def images(doc):
    return [Image.open(io.BytesIO(doc["image"])).convert("RGB")]


def right(doc, results):
    def plain(text):
        return " ".join(text.casefold().split()).rstrip(". ")

    return {"right": float(plain(results[0]) in map(plain, doc["answers"]))}
"""
_MODEL = "llava_hf"  # loads what `save` writes
_COLOUR = re.compile(r"\x1b\[\d+m")
_FAILED = "Error during evaluation:"  # written to stdout, with exit code 0


def ask(
    model: Path, questions: Sequence[Question], image: Callable[[str], bytes], runner: Runner, max_tokens: int
) -> Iterator[dict[str, Any]]:
    """Yield uid, kind, cluster, question, expected, answer and score of every question of the runner's tasks.

    BadConfig if there is no such environment, BadData if lmms-eval fails.
    """
    if not Path(runner.python).exists():
        raise BadConfig(f"runner.python: there is no {runner.python}. Run scripts/bench-env, or name another one.")
    with tempfile.TemporaryDirectory() as folder:
        if OWN in runner.tasks:
            write_task(Path(folder), questions, image, max_tokens)
        _run(Path(folder), model, runner)
        by_task = {
            path.stem.partition("_samples_")[2]: path.read_text("utf-8").splitlines()
            for path in sorted(Path(folder, "out").rglob("*_samples_*.jsonl"))
        }
    if missing := sorted(set(runner.tasks) - by_task.keys()):
        raise BadData(f"lmms-eval gave no samples of {', '.join(missing)}. Run it by hand with --tasks to see why.")
    for task, lines in by_task.items():
        for sample in map(json.loads, lines):
            yield _row(task, sample, questions)


def write_task(folder: Path, questions: Sequence[Question], image: Callable[[str], bytes], max_tokens: int) -> None:
    """Write questions as a local task: a YAML file, its functions, and a Parquet file."""
    rows = [
        {"uid": one.uid, "question": one.question, "answers": list(one.answers), "answer": one.answers[0],
         "image": image(one.image)}
        for one in questions
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "questions.parquet")
    (folder / "functions.py").write_text(_FUNCTIONS)
    task = {
        "task": OWN,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(folder / "questions.parquet")}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"max_new_tokens": max_tokens, "temperature": 0, "do_sample": False},
        "metric_list": [{"metric": "right", "aggregation": "mean", "higher_is_better": True}],
        "metadata": [{"version": 1}],
    }
    functions = "doc_to_visual: !function functions.images\nprocess_results: !function functions.right\n"
    (folder / f"{OWN}.yaml").write_text(yaml.safe_dump(task) + functions)


def _run(folder: Path, model: Path, runner: Runner) -> None:
    command = [
        runner.python, "-m", "lmms_eval", "--model", _MODEL,
        "--model_args", f"pretrained={model},device={runner.device},device_map={runner.device}",
        "--tasks", ",".join(runner.tasks), "--include_path", str(folder), "--batch_size", "1",
        "--output_path", str(folder / "out"), "--log_samples",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {
        "HF_DATASETS_CACHE": str(folder / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "disabled",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    failed = [line for line in done.stdout.splitlines() if _FAILED in line]
    if done.returncode or failed:
        last = next(reversed([line for line in [*done.stderr.splitlines(), *failed] if line.strip()]), "no word")
        raise BadData(f"lmms-eval failed: {_COLOUR.sub('', last.rpartition(_FAILED)[2]).strip()}")


def _row(task: str, sample: Mapping[str, Any], questions: Sequence[Question]) -> dict[str, Any]:
    found = sample["filtered_resps"]
    answer = str(found[0] if isinstance(found, list) else found).strip()
    if task == OWN:
        one = questions[sample["doc_id"]]
        own = {"uid": one.uid, "cluster": one.cluster, "question": one.question, "expected": list(one.answers),
               "right": float(one.accepts(answer))}  # fmt: skip
    else:
        own = {"uid": sample["doc_id"], "cluster": str(sample["doc_id"]), "right": _score(task, sample),
               "question": str(sample.get("input", ""))[:500], "expected": [str(sample["target"])]}  # fmt: skip
    return {**own, "uid": f"{task}/{own['uid']}", "kind": task, "answer": answer}


_NO_METRIC = {"doc_id", "target", "resps", "filtered_resps", "token_counts", "doc_hash", "input", "input_media"}


def _score(task: str, sample: Mapping[str, Any]) -> float:
    """The first metric of a sample: a number, or a record that has one named `score`."""
    for name, value in sample.items():
        found = value.get("score") if isinstance(value, dict) else value
        if name not in _NO_METRIC and isinstance(found, bool | int | float):
            return float(found)
    raise BadData(f"lmms-eval's task '{task}' has no metric that is a number for each question. Leave it out.")
