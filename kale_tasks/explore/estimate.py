"""`kale estimate`: rows, hours, dollars and bytes of a key and a recipe before anything runs."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kale_tasks.captions.steps import pass_specs
from kale_tasks.errors import BadConfig
from kale_tasks.ingest.pieces import data_files, pieces_of
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.passes import AnyPass, AskPass, EmbedPass, ExpertPass, ScorePass
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.resources import parse_yaml
from kale_tasks.settings import Settings

_HOUR = 3600.0


@dataclass
class Line:
    """The cost of a step: rows that it works on, hours, dollars, bytes, and where its rate comes from."""

    step: str
    rows: float
    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    bytes: float = 0.0
    rate: str = ""

    def as_row(self, price: float) -> dict[str, Any]:
        """The line as a row of a table."""
        return {
            "step": self.step,
            "rows": round(self.rows),
            "GPU-hours": round(self.gpu_hours, 2),
            "CPU-hours": round(self.cpu_hours, 2),
            "dollars": round(self.gpu_hours * price, 2),
            "GB": round(self.bytes / 1e9, 2),
            "rate": self.rate,
        }


@dataclass
class Estimate:
    """All lines, the machines that they are divided by, and what was assumed."""

    lines: list[Line]
    price: float
    gpus: int
    cores: int
    assumed: list[str] = field(default_factory=list)

    @property
    def days(self) -> float:
        """Days if GPUs and cores work side by side all the time."""
        gpu, cpu = (sum(getattr(line, name) for line in self.lines) for name in ("gpu_hours", "cpu_hours"))
        return float(max(gpu / self.gpus, cpu / self.cores)) / 24

    def as_json(self) -> dict[str, Any]:
        """Everything for machines."""
        rows = [line.as_row(self.price) for line in self.lines]
        names = ("GPU-hours", "CPU-hours", "dollars", "GB")
        total = {name: round(sum(row[name] for row in rows), 2) for name in names}
        return {"lines": rows, "total": {**total, "days": round(self.days, 3)}, "assumed": self.assumed}


class Rates:
    """Rates by name: options first, then what the ledger of the lake says, then those that ship with KALE."""

    def __init__(self, options: Mapping[str, float], measured: Mapping[str, float]) -> None:
        self._options, self._measured = options, measured
        self._shipped = parse_yaml(Path(__file__).with_name("rates.yaml").read_text("utf-8"))
        self.assumed: dict[str, str] = {}

    def of(self, name: str, shipped: str = "") -> tuple[float, str]:
        """The rate of that name, or the shipped one of another name, and where it comes from."""
        if name in self._options:
            return self._options[name], "option"
        if name in self._measured:
            return self._measured[name], "measured in this lake"
        known = self._shipped[shipped or name]
        self.assumed[shipped or name] = f"{shipped or name} = {known['value']:g}: {known['source']}"
        return known["value"], str(known["source"]).partition(":")[0]


def estimate(
    settings: Settings, lake: Lake | None, landed: float, options: Mapping[str, float], machines: tuple[int, int]
) -> Estimate:
    """Estimate what the configured recipe makes of landing rows; machines are GPUs and cores, options rates by name."""
    recipe = load_recipe(settings.caption.recipe)
    known = {"kept_share", "image_share", "student", *(one.name for one in recipe.passes)}
    if unknown := sorted(options.keys() - known):
        raise BadConfig(f"There is no rate '{unknown[0]}'. Rates: {', '.join(sorted(known))}.")
    rates = Rates(options, measured_rates(lake, settings) if lake else {})
    kept_share, _ = rates.of("kept_share")
    image_share, _ = rates.of("image_share")
    pairs = landed * kept_share
    images = pairs * image_share
    first = images * settings.ingest.split.stage1
    lines = [_ingest(rates, landed, pairs), _images(rates, pairs, images)]
    lines += [_pass(rates, one, first) for one in recipe.passes]
    second = images * (1 - settings.ingest.split.stage1 - settings.ingest.split.holdout)
    if second > 0:
        lines.append(_asked(rates, "student", "student", second, "caption_bytes"))
    lines.append(Line("captions", first + second, bytes=(first + second) * rates.of("caption_bytes")[0]))
    return Estimate(lines, settings.caption.device_hour_price, *machines, list(rates.assumed.values()))


def landing_rows(settings: Settings, key: str) -> float:
    """Count the landing rows of a key by the footers of its files; files without one are estimated by their size."""
    files = data_files(settings, key)
    return float(sum(p.rows for p in pieces_of(landing_storage(settings), files, settings.ingest.piece_rows)))


def measured_rates(lake: Lake, settings: Settings) -> dict[str, float]:
    """Rates that the ledger of a lake has: answers a second and device of each pass, shares of ingest and images."""
    if "runs" not in lake.tables():
        return {}
    names = {spec.name: spec.label for spec in pass_specs(settings.caption.recipe)} | {"student": "student"}
    done: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    found: dict[str, float] = {}
    columns = ["step", "rows_in", "kept", "metrics", "seconds"]
    for line in lake.arrow("runs", columns=columns, where="verb = 'work'").to_pylist():
        figures = json.loads(line["metrics"] or "{}")
        if label := names.get(line["step"]):
            done[label][0] += line["kept"]
            done[label][1] += figures.get("device_seconds") or figures.get("expert_seconds") or line["seconds"]
        elif line["step"] == "ingest":
            done["kept_share"][0] += line["kept"]
            done["kept_share"][1] += line["rows_in"]
        elif line["step"] == "images":
            done["image_share"][0] += figures.get("stored", 0)
            done["image_share"][1] += line["rows_in"]
    for name, (made, spent) in done.items():
        if made and spent:
            found[name] = made / spent
    return found


def _ingest(rates: Rates, landed: float, pairs: float) -> Line:
    cpu, source = rates.of("ingest_cpu_us")
    return Line("ingest", landed, cpu_hours=landed * cpu / 1e6 / _HOUR, bytes=pairs * rates.of("pair_bytes")[0],
                rate=f"{cpu:g} CPU µs a row ({source})")  # fmt: skip


def _images(rates: Rates, pairs: float, images: float) -> Line:
    cpu, source = rates.of("fetch_cpu")
    return Line("images", pairs, cpu_hours=pairs / cpu / _HOUR, bytes=images * rates.of("image_bytes")[0],
                rate=f"{cpu:g} a CPU second ({source})")  # fmt: skip


def _pass(rates: Rates, one: AnyPass, rows: float) -> Line:
    if isinstance(one, AskPass):
        kind = "ask_image" if one.image else "ask_text"
        return _asked(rates, one.name, kind, rows * one.n * one.rounds, "text_bytes")
    size = rows * rates.of("text_bytes")[0]
    if isinstance(one, ExpertPass | EmbedPass | ScorePass):
        rate, source = rates.of(one.name, "expert_cpu")
        seconds = rows * rate if source.startswith("bench") else rows / rate
        shown = f"{rate:g} CPU s an image" if source.startswith("bench") else f"{rate:.3g} a second"
        return Line(one.name, rows, cpu_hours=seconds / _HOUR, bytes=size, rate=f"{shown} ({source})")
    return Line(one.name, rows, bytes=size, rate="asks no model")


def _asked(rates: Rates, name: str, shipped: str, requests: float, size: str) -> Line:
    rate, source = rates.of(name, shipped)
    cpu = requests * rates.of("pass_cpu_us")[0] / 1e6 / _HOUR
    return Line(name, requests, gpu_hours=requests / rate / _HOUR, cpu_hours=cpu, bytes=requests * rates.of(size)[0],
                rate=f"{rate:.3g} a second and GPU ({source})")  # fmt: skip
