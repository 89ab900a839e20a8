"""The design of a downstream evaluation: a YAML file that names arms, seeds, outcomes and thresholds before any run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from kale_tasks.errors import BadConfig
from kale_tasks.lake.storage.base import Storage
from kale_tasks.resources import parse_yaml, resource
from kale_tasks.settings.section import Section, neutral, runtime


def _optional(value: Any, description: str, **constraints: Any) -> Any:
    """Declare a field that has no effect at its default."""
    return neutral(value, description, default=value, **constraints)


ROOT = "evaluations"  # folder in the warehouse


class Phase(Section):
    """One phase of a training. A step learns from as many examples as have `tokens` tokens of answers."""

    steps: int = Field(ge=1, description="Optimiser steps.")
    tokens: int = Field(ge=1, description="Tokens of answers in a step: equal for all arms, however long their texts.")
    rate: float = Field(gt=0, description="Highest learning rate.")
    lessons: int = _optional(0, "Tokens of answers to lessons in a step, besides those of captions.", ge=0)
    connector_only: bool = _optional(False, "Whether only the connector is trained.")


class Model(Section):
    """The small model that is trained: a whole one, or a vision tower and a language model with a new connector."""

    base: str = _optional("", "Model to start from, such as sample:teacher; empty: vision and llm.")
    vision: str = _optional("", "Vision tower of a new model.")
    llm: str = _optional("", "Language model of a new model.")
    decoder: dict[str, int] = _optional(
        {}, "Sizes of a decoder with random weights in place of the base's own, such as hidden_size."
    )
    connector: bool = _optional(True, "Whether the connector starts with random weights.")
    vision_trained: bool = _optional(False, "Whether the vision tower is trained.")
    decay: float = _optional(0.0, "Weight decay.", ge=0)
    warm_up: float = Field(0.03, ge=0, lt=1, description="Share of a phase in which the rate rises.")
    dtype: str = Field("float32", description="Type of the arithmetic.")
    max_tokens: int = Field(16, ge=1, description="Tokens of an answer.")
    keep: bool = runtime("Whether the trained model is kept beside its answers.", default=False)
    device: str = runtime("cpu, cuda, or auto.", default="auto")
    threads: int | None = runtime("CPU threads; empty: torch decides.", default=None)
    checkpoint_steps: int = runtime("Steps between two checkpoints.", default=500)


class Outcome(Section):
    """One comparison with a baseline arm on some kinds of questions."""

    questions: list[str] = Field(min_length=1, description="Kinds of questions that count.")
    baseline: str = Field(description="Arm to compare with.")
    arms: list[str] = Field(min_length=1, description="Arms that are compared with it.")
    margin: float = _optional(0.0, "Largest harmless difference, for non-inferiority and equivalence.", ge=0)
    test: str = Field("differs", pattern="^(differs|not inferior|equivalent)$", description="What is to be shown.")


class Runner(Section):
    """Tasks of lmms-eval that every trained model is asked; its questions count as kinds of their own."""

    tasks: list[str] = _optional([], "Names of tasks; kale_questions: our own questions, asked by lmms-eval.")
    python: str = runtime("Interpreter that has lmms-eval.", default=".venv-bench-lmms/bin/python")
    device: str = runtime("Device of the model there.", default="cpu")


class Cost(Section):
    """What a run takes, so that the cost is known before the start."""

    hours: float = _optional(0.0, "Device-hours of one run as measured; 0: by the operations below.", ge=0)
    examples: dict[str, float] = _optional({}, "Examples of each phase.")
    tokens: dict[str, float] = _optional({}, "Tokens of an example of each phase, those of its image included.")
    weights: float = _optional(0.0, "Weights of the language model.", ge=0)
    vision_weights: float = _optional(0.0, "Weights of the vision tower.", ge=0)
    image_tokens: float = _optional(0.0, "Tokens of an image.", ge=0)
    tflops: float = _optional(0.0, "TFLOPS that a device sustains.", ge=0)
    price: float = _optional(0.0, "Dollars of a device-hour.", ge=0)

    def run_hours(self, vision_trained: bool) -> float:
        """Device-hours of one run: six operations for each weight and token, two where nothing is learnt."""
        if not self.tflops:
            return self.hours
        seen = (6 if vision_trained else 2) * self.vision_weights * self.image_tokens
        work = sum(n * (6 * self.weights * self.tokens[phase] + seen) for phase, n in self.examples.items())
        return work / (self.tflops * 1e12) / 3600


class Design(Section):
    """Everything that decides what an evaluation shows."""

    about: str = Field(description="What is asked.")
    data: dict[str, Any] = Field(description="Source of images, texts, lessons and questions, and its options.")
    arms: dict[str, dict[str, Any]] = Field(min_length=2, description="What each arm learns from.")
    seeds: list[int] = Field(min_length=1, description="Seeds of weights and order, the same for all arms.")
    model: Model
    pretrain: Phase
    tune: Phase
    primary: Outcome
    secondary: dict[str, Outcome] = _optional({}, "Further comparisons, by name.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Share of false alarms allowed, over all arms of an outcome.")
    runner: Runner = Runner()
    cost: Cost = Cost()

    @model_validator(mode="after")
    def _names_known_arms(self) -> "Design":
        for name, outcome in self.outcomes().items():
            if strange := {outcome.baseline, *outcome.arms} - self.arms.keys():
                raise ValueError(f"{name} names '{min(strange)}', which is not among the arms {', '.join(self.arms)}")
            if outcome.test != "differs" and not outcome.margin:
                raise ValueError(f"{name} needs a margin: to be '{outcome.test}' within nothing cannot be shown")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ")
        return self

    def outcomes(self) -> dict[str, Outcome]:
        """The primary outcome and the secondary ones, by name."""
        return {"primary": self.primary, **self.secondary}

    def runs(self) -> list[tuple[str, int]]:
        """Every arm with every seed; all arms of a seed first, so that an early look compares like with like."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]

    def price(self) -> dict[str, float]:
        """Runs, device-hours and dollars of the whole design."""
        runs, each = len(self.runs()), self.cost.run_hours(self.model.vision_trained)
        return {"runs": runs, "hours": round(runs * each, 2), "dollars": round(runs * each * self.cost.price, 2)}

    @property
    def hash(self) -> str:
        """The hash of all that can change a result."""
        return hashlib.sha256(json.dumps(self.row_relevant(), sort_keys=True).encode()).hexdigest()


def design_path(name: str) -> Path:
    """The file of a design, given its name or path; BadConfig if there is none."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else resource(f"config/evaluations/{name}.yaml")
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in resource("config/evaluations").glob("*.yaml")))
        raise BadConfig(f"There is no design '{name}'. Use one of {known}, or the path of a YAML file.")
    return path


def load_design(name: str) -> Design:
    """Read a design; BadConfig names the field that is wrong."""
    path = design_path(name)
    try:
        return Design.model_validate(parse_yaml(path.read_text("utf-8")))
    except yaml.YAMLError as error:
        raise BadConfig(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the design"
        raise BadConfig(f"{path.name}: {where}: {first['msg']}.") from error


def register(storage: Storage, folder: str, design: Design) -> None:
    """Store the design beside its first result. BadConfig if another one is stored there: it was changed since."""
    path, stored = f"{folder}/design.json", {"hash": design.hash, "design": design.row_relevant()}
    if storage.put_if(path, json.dumps(stored, sort_keys=True, indent=1).encode(), None):
        return
    before = json.loads(storage.read(path))
    if before["hash"] != design.hash:
        changed = sorted(_changed(before["design"], stored["design"]))
        raise BadConfig(
            f"The design of {folder} was fixed with its first result and has changed since: {', '.join(changed)}. "
            "Restore it, or copy the file under another name: that is another evaluation."
        )


def _changed(before: Any, after: Any, name: str = "") -> set[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        names = before.keys() | after.keys()
        return {one for key in names for one in _changed(before.get(key), after.get(key), f"{name}.{key}".lstrip("."))}
    return set() if before == after else {name}
