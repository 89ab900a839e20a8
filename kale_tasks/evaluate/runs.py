"""The runs of an evaluation: one arm with one seed, pre-trained, tuned and asked. A run that was killed goes on."""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from kale_tasks.distill.schedule import warm_up_cosine
from kale_tasks.errors import BadConfig
from kale_tasks.evaluate.data import EvaluationData, Example, Question, open_data
from kale_tasks.evaluate.design import ROOT, Design, Phase, design_path, load_design, register
from kale_tasks.lake.storage.base import Storage
from kale_tasks.lake.storage.open import open_storage
from kale_tasks.progress import Progress
from kale_tasks.settings.model import Settings

if TYPE_CHECKING:
    from kale_tasks.evaluate.vlm import SmallModel

_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Evaluation:
    """A design, where its results are, and its data."""

    name: str
    design: Design
    storage: Storage
    settings: Settings

    @classmethod
    def open(cls, design: str, settings: Settings) -> "Evaluation":
        """Open the evaluation of a design, given its name or path."""
        storage = open_storage(settings.warehouse, settings.s3)
        return cls(design_path(design).stem, load_design(design), storage, settings)

    @cached_property
    def data(self) -> EvaluationData:
        """The source that the design names."""
        return open_data(self.design.data, self.settings)

    @property
    def folder(self) -> str:
        """The folder of its results, in the warehouse."""
        return f"{ROOT}/{self.name}"

    def pending(self) -> list[str]:
        """The names of the runs that have no answers yet."""
        return [
            f"{arm}-{seed}"
            for arm, seed in self.design.runs()
            if not self.storage.exists(f"{self.folder}/runs/{arm}-{seed}/run.json")
        ]

    def run(self, name: str, progress: Progress) -> dict[str, Any]:
        """Make a run, or go on with it, and return its figures; BadConfig if the design has no such run."""
        known = {f"{arm}-{seed}": (arm, seed) for arm, seed in self.design.runs()}
        if name not in known:
            raise BadConfig(f"The design '{self.name}' has no run '{name}'. Runs: {', '.join(known)}.")
        register(self.storage, self.folder, self.design)
        folder = f"{self.folder}/runs/{name}"
        if self.storage.exists(f"{folder}/run.json"):
            return dict(json.loads(self.storage.read(f"{folder}/run.json")))
        return _Run(self, folder, *known[name]).make(progress)

    def answers(self) -> pa.Table:
        """Return the answers of all runs that are made; BadConfig if there is none."""
        paths = [f"{self.folder}/runs/{arm}-{seed}/answers.parquet" for arm, seed in self.design.runs()]
        found = [path for path in paths if self.storage.exists(path)]
        if not found:
            raise BadConfig(f"The evaluation '{self.name}' has no answers yet. Run `kale evaluate downstream` first.")
        return pa.concat_tables([pq.read_table(self.storage.arrow.open_input_file(path)) for path in found])

    def figures(self) -> dict[str, dict[str, Any]]:
        """Return the figures of each run that is made, by its name."""
        paths = {f"{arm}-{seed}": f"{self.folder}/runs/{arm}-{seed}/run.json" for arm, seed in self.design.runs()}
        return {name: json.loads(self.storage.read(path)) for name, path in paths.items() if self.storage.exists(path)}


@dataclass
class _Run:
    of: Evaluation
    folder: str
    arm: str
    seed: int
    spent: dict[str, float] = field(default_factory=lambda: {"cpu_seconds": 0.0, "seconds": 0.0})

    def make(self, progress: Progress) -> dict[str, Any]:
        from kale_tasks.evaluate.vlm import SmallModel

        design, data = self.of.design, self.of.data
        self._clock = time.process_time(), time.monotonic()
        model = SmallModel(design.model, data, self.seed)
        captions = data.captions(design.arms[self.arm])
        progress.begin(f"{self.of.name} {self.arm}-{self.seed}", design.pretrain.steps + design.tune.steps, "steps")
        figures = self._train(model, {"pretrain": captions, "tune": data.lessons()}, progress)
        answered = self._ask(model, data.questions())
        if design.model.keep or design.runner.tasks:
            answered += self._saved(model)
        words = sum(len(one.answer.split()) for one in captions) / max(1, len(captions))
        figures |= {"arm": self.arm, "seed": self.seed, "texts": len(captions), "words": round(words, 2)}
        figures |= {name: round(value, 1) for name, value in self._spent().items()}
        self._put_table("answers.parquet", pa.Table.from_pylist([self._signed(row) for row in answered]))
        self.of.storage.put(f"{self.folder}/run.json", json.dumps(figures, indent=1).encode())
        self.of.storage.delete(f"{self.folder}/checkpoint.safetensors")
        return figures

    def _train(
        self, model: "SmallModel", taught: Mapping[str, Sequence[Example]], progress: Progress
    ) -> dict[str, Any]:
        design, start = self.of.design, 0
        stored = self._checkpoint()
        done = int(stored["step"]) if stored else 0
        progress.advance(done, resumed=True)
        figures: dict[str, Any] = {}
        for name, examples in taught.items():
            phase: Phase = getattr(design, name)
            seen = loss = 0.0
            optimizer = model.optimizer(phase)
            if start <= done and stored:
                _restore(model, optimizer if start < done < start + phase.steps else None, stored, done - start)
            steps = model.steps(examples, phase.tokens, [self.seed, start])
            mixed = model.steps(taught["tune"], phase.lessons, [self.seed, start, 1]) if phase.lessons else repeat([])
            for number, (own, beside) in enumerate(islice(zip(steps, mixed, strict=False), phase.steps)):
                step = [*own, *beside]
                seen += len(own)
                if start + number < done:
                    continue
                rate = phase.rate * warm_up_cosine(number, phase.steps, design.model.warm_up * phase.steps)
                loss = model.learn(step, optimizer, rate)
                progress.advance(1)
                progress.gauge(loss=loss)
                if (start + number + 1) % design.model.checkpoint_steps == 0:
                    self._save(model, optimizer, start + number + 1)
            figures[name] = {"loss": round(loss, 4), "passes": round(seen / max(1, len(examples)), 2)}
            start += phase.steps
        return figures

    def _ask(self, model: "SmallModel", questions: Sequence[Question]) -> list[dict[str, Any]]:
        answers = model.answers([Example(one.image, one.question, "") for one in questions])
        return [
            {
                "uid": one.uid, "kind": one.kind, "cluster": one.cluster, "question": one.question,
                "expected": list(one.answers), "answer": answer, "right": float(one.accepts(answer)),
            }
            for one, answer in zip(questions, answers, strict=True)
        ]  # fmt: skip

    def _saved(self, model: "SmallModel") -> list[dict[str, Any]]:
        """Save the model, ask it the runner's tasks, and keep it if the design says so."""
        from kale_tasks.distill.model import save

        design, data = self.of.design, self.of.data
        with tempfile.TemporaryDirectory() as folder:
            save(model.model, model.processor, Path(folder))
            if design.model.keep:
                for file in Path(folder).iterdir():
                    self.of.storage.put(f"{self.folder}/model/{file.name}", file)
            if not design.runner.tasks:
                return []
            from kale_tasks.evaluate.lmms import ask

            return list(ask(Path(folder), data.questions(), data.image, design.runner, design.model.max_tokens))

    def _signed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"arm": self.arm, "seed": self.seed, **row, "design": self.of.design.hash}

    def _put_table(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        self.of.storage.put(f"{self.folder}/{name}", sink.getvalue().to_pybytes())

    def _save(self, model: "SmallModel", optimizer: Any, step: int) -> None:
        """Write weights, moments and position in one atomic put."""
        import torch
        from safetensors.torch import save_file

        spent = self._spent()
        tensors = {"step": torch.tensor(step), **{name: torch.tensor(value) for name, value in spent.items()}}
        for name, weight in model.module.named_parameters():
            tensors[f"weight {name}"] = weight.detach()
            state = optimizer.state.get(weight, {})
            tensors |= {f"{moment} {name}": state[moment] for moment in _MOMENTS if moment in state}
        with tempfile.TemporaryDirectory() as folder:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{folder}/checkpoint")
            self.of.storage.put(f"{self.folder}/checkpoint.safetensors", Path(folder, "checkpoint"))

    def _checkpoint(self) -> dict[str, Any]:
        from safetensors.torch import load

        path = f"{self.folder}/checkpoint.safetensors"
        stored = load(self.of.storage.read(path)) if self.of.storage.exists(path) else {}
        self.spent |= {name: float(stored[name]) for name in self.spent if name in stored}
        return stored

    def _spent(self) -> dict[str, float]:
        now = time.process_time(), time.monotonic()
        return {
            name: self.spent[name] + now[at] - self._clock[at] for at, name in enumerate(("cpu_seconds", "seconds"))
        }


def _restore(model: "SmallModel", optimizer: Any, stored: Mapping[str, Any], steps: int) -> None:
    """Load weights, and the moments of an optimiser that has made some steps; None at the start of a phase."""
    import torch

    for name, weight in model.module.named_parameters():
        with torch.no_grad():
            weight.copy_(stored[f"weight {name}"])
        if optimizer and f"{_MOMENTS[0]} {name}" in stored and weight.requires_grad:
            moments = {moment: stored[f"{moment} {name}"].to(weight.device) for moment in _MOMENTS}
            optimizer.state[weight] = {"step": torch.tensor(float(steps)), **moments}
