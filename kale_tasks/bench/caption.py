"""How fast one engine captions on this machine, beside the library that it runs, on the same requests and in turns."""

import datetime
import io
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from kale_tasks.bench.checkpoint import families, make_checkpoint
from kale_tasks.bench.contenders import BARE, Contender, bare, ours
from kale_tasks.bench.machine import describe_devices, describe_machine, gpus_of, idle_share
from kale_tasks.bench.measure import Sample, Series, in_turns, markdown, ratio, timed
from kale_tasks.engines.base import Model, Request
from kale_tasks.engines.devices import device_groups
from kale_tasks.errors import BadConfig
from kale_tasks.models.locate import locate
from kale_tasks.recipes.parts import Task
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.settings.caption import Caption

_TEXT = (
    "Number {n}: a red brick house with a grey roof and a white door is at the left of a narrow street, beside two "
    "parked bicycles and a tall tree. People with umbrellas walk on the wet pavement, and the sky is overcast."
)
_TOKENS, _SIDE = 100, 512  # of an answer at most, and of a picture in pixels
_WARM = 8  # requests before the clock starts; others, or vLLM would have them in its cache
_GRAIN = 10.0
HEADER = ("who", "requests/s", "tokens/s", "CPU ms each", "devices idle", "speed of bare", "CPU of bare", "machine")


@dataclass(frozen=True)
class Wanted:
    """What to measure."""

    recipe: Recipe
    task: str  # a pass that asks a model, or `student`
    weights: str  # real or tiny: random ones of that size; recipe: those that the recipe names
    count: int
    rounds: int


@dataclass(frozen=True)
class Found:
    """What was measured, by contender; the bare library comes first, if there is one."""

    wanted: Wanted
    settings: Caption
    series: Mapping[str, Series]

    def rows(self) -> Iterator[dict[str, str]]:
        """The table, a row for each contender."""
        base = self.series.get("bare")
        for who, one in self.series.items():
            against = [ratio(one, base, of).median for of in (_speed, _thrift)] if base else []
            cells = [
                f"{self.wanted.count / one.wall:.1f}",
                f"{one.figure('tokens') / one.wall:,.0f}",
                f"{one.cpu / self.wanted.count * 1000:.2f}",
                f"{one.figure('idle'):.0%}",
                *([f"{value:.3f}" for value in against] or ["-", "-"]),
                "busy" if one.busy else "idle",
            ]
            yield dict(zip(HEADER, [who, *cells], strict=True))

    @property
    def verified(self) -> dict[str, Any]:
        """The entry for `verified` of the recipe."""
        each = self.wanted.count / list(self.series.values())[-1].wall
        return {
            "task": self.wanted.task,
            "engine": engine_version(self.settings),
            "device": describe_devices(gpus_of(self.settings)),
            "each_second": round(each, 1),
            "date": str(datetime.date.today()),
        }

    def page(self) -> str:
        """A page in Markdown."""
        wanted = self.wanted
        model = f"the weights of the recipe's model ({wanted.weights})"
        if wanted.weights != "recipe":
            model = f"a model with random weights, {wanted.weights} size, of the architecture that the recipe names"
        about = (
            f"By `kale bench caption`: {wanted.count} requests of `{wanted.task}` of the recipe `{wanted.recipe.name}` "
            f"to {model}, greedy, at most {_TOKENS} tokens each, images of {_SIDE} pixels that are all "
            f"different, {wanted.rounds} rounds in turns, models loaded and warm. *bare* is the library itself on the "
            f"same requests, with the same engine arguments, on the first group of devices. Medians; ratios to bare "
            f"are above 1 where speed is higher, or where less CPU time is taken."
        )
        rows = [list(row.values()) for row in self.rows()]
        lines = [*textwrap.wrap(about, 120), "", *textwrap.wrap(describe_machine(gpus_of(self.settings)), 120), ""]
        entry = yaml.safe_dump({"verified": [self.verified]}, sort_keys=False)
        table = [*markdown(HEADER, rows), "", "For the recipe:", "", f"```yaml\n{entry}```", ""]
        return "\n".join(["# Speed of captioning", "", *lines, *table])


def measure_caption(settings: Caption, wanted: Wanted) -> Found:
    """Measure the engine of the settings beside its library, and on all groups of devices if there are several.

    Each turn loads the model again, as two engines may not fit on one device.
    """
    task = _task(wanted)
    asked = list(_requests(task, wanted.count + _WARM))
    with tempfile.TemporaryDirectory() as folder:
        settings, model = _with_model(settings, task, wanted, Path(folder))
        groups = device_groups(settings.devices, {**settings.vllm, **task.vllm}) if settings.engine == "vllm" else [""]
        one = settings.model_copy(update={"devices": groups[0] or settings.devices})
        contenders = {"bare": (bare, one)} if settings.engine in BARE else {}
        contenders["ours"] = (ours, one)
        if len(groups) > 1:
            contenders[f"ours, {len(groups)} groups"] = (ours, settings)
        turns = {who: partial(_turn, begin, of, model, asked) for who, (begin, of) in contenders.items()}
        return Found(wanted, settings, in_turns(turns, wanted.rounds))


def _turn(begin: Contender, settings: Caption, model: Model, asked: Sequence[Request]) -> Sample:
    with begin(settings, model, asked) as answer:
        answer(len(asked) - _WARM, len(asked))

        def watched() -> Mapping[str, float]:
            with idle_share(gpus_of(settings)) as idle:
                return {"tokens": answer(0, len(asked) - _WARM), "idle": idle()}

        return timed(watched)


def _task(wanted: Wanted) -> Task:
    asked = wanted.recipe.task(wanted.task)
    sampling = asked.sampling.model_copy(update={"max_tokens": _TOKENS, "temperature": 0.0})
    changed = {"sampling": sampling, **({"dtype": "float32"} if wanted.weights == "tiny" else {})}
    return asked.model_copy(update=changed)


def _requests(task: Task, count: int) -> Iterator[Request]:
    pictures = photographs(count, _SIDE) if task.image_tokens else repeat(None)
    for number, picture in zip(range(count), pictures, strict=False):
        values = dict.fromkeys(task.prompt.reads, _TEXT.format(n=number))
        yield Request(number, task.prompt.messages(values, image=picture is not None), picture)


def photographs(count: int, side: int) -> Iterator[bytes]:
    """Yield JPEGs that are all different and cost as much to decode as photographs: soft colours with grain."""
    rng = np.random.default_rng(0)
    width, height = side, side * 3 // 4
    for _ in range(count):
        soft = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))
        grain = rng.standard_normal((height, width, 1), dtype=np.float32) * _GRAIN
        pixels = np.clip(np.asarray(soft, dtype=np.float32) + grain, 0, 255).astype(np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "JPEG", quality=90)
        yield sink.getvalue()


def _with_model(settings: Caption, task: Task, wanted: Wanted, folder: Path) -> tuple[Caption, Model]:
    """Return the model, and settings with which its weights are made up where they are not written."""
    if wanted.weights == "recipe":
        if not task.model:
            raise BadConfig("A student has no weights before it is promoted: measure it with --weights real or tiny.")
        return settings, Model(task.model, task, lambda: locate(task.model))
    family = family_of(task)
    if family is None:
        names = ", ".join(name for known in families().values() for name in known["names"] if name)
        raise BadConfig(
            f"The architecture of {task.model} is not known here, only those of {names}. Use --weights recipe."
        )
    real = wanted.weights == "real"
    made_up = real and settings.engine == "vllm"
    texts = [task.prompt.system, task.prompt.user, _TEXT]
    make_checkpoint(family, folder, texts, real=real, weights=not made_up)
    arguments = {**settings.vllm, "load_format": "dummy"} if made_up else settings.vllm
    return settings.model_copy(update={"vllm": arguments}), Model(f"{family}@random", task, lambda: folder)


def family_of(task: Task) -> str | None:
    """Return the family of the model of a task, if its architecture is known here."""
    name = task.model.partition("@")[0]
    return next((family for family, known in families().items() if name in known["names"]), None)


def engine_version(settings: Caption) -> str:
    """Return the engine with the version of what it runs."""
    if settings.engine != "vllm":
        return f"{settings.engine} {version('transformers')}" if settings.engine == "transformers" else settings.engine
    code = "from importlib.metadata import distributions as d; print(*{p.version for p in d() if p.name[:4] == 'vllm'})"
    command = [settings.vllm_python or sys.executable, "-c", code]
    return f"vllm {subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or 'unknown'}"


def _speed(sample: Sample) -> float:
    return 1 / sample.wall


def _thrift(sample: Sample) -> float:
    return 1 / sample.cpu
