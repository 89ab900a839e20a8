"""A built release, read back from the lake: what publishing, the card and the diff work on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pyiceberg.expressions import EqualTo

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.tables import Committed, Lake
from kale_tasks.lake.verdicts import read_acceptance, read_verdict
from kale_tasks.release.files import ReleaseFile
from kale_tasks.release.formats.base import Format
from kale_tasks.release.registry import FORMATS, find_format
from kale_tasks.release.shards import CAPTIONS, LEFT_OUT, release_name
from kale_tasks.release.stats import Counts, add
from kale_tasks.runner.seal import read_sealed


@dataclass(frozen=True)
class PartitionCheck:
    """Check result of one partition of captions in the release."""

    partition: str
    status: str
    failed: Sequence[str]
    warnings: Sequence[str]
    accepted: str = ""  # why a person accepted it although it failed


@dataclass(frozen=True)
class Built:
    """A release that is committed in the lake."""

    version: str
    key: str
    inputs: Mapping[str, str]
    files: Sequence[ReleaseFile]
    stats: Counts
    checks: Sequence[PartitionCheck]
    at: str  # when it was committed

    @property
    def left_out(self) -> dict[str, tuple[int, str]]:
        """What it leaves out: rows and reason, by partition of captions."""
        known = {name.removeprefix(LEFT_OUT): text for name, text in self.inputs.items() if name.startswith(LEFT_OUT)}
        return {name: (int(text.partition(" ")[0]), text.partition(" ")[2]) for name, text in known.items()}

    @cached_property
    def formats(self) -> list[Format]:
        """The formats of its files, in the order of the registry."""
        present = [find_format(name) for name in sorted({file.format for file in self.files})]
        return sorted(present, key=lambda form: (FORMATS.names.index(form.name.partition(":")[0]), form.name))

    @cached_property
    def recipes(self) -> list[str]:
        """The recipes whose captions it has."""
        return sorted({recipe_of(file.name) for file in self.files if file.format == "captions"})

    @cached_property
    def configs(self) -> dict[str, Format]:
        """The configs that `load_dataset` accepts, with the format of each; tars have none.

        Of several recipes each has configs of its own, such as `kale-full`: they caption the same images.
        """
        return {name: form for name, form in self._possible.items() if self.of(name)}

    @cached_property
    def _possible(self) -> dict[str, Format]:
        prefixes = [f"{recipe}-" for recipe in self.recipes] if len(self.recipes) > 1 else [""]
        of_recipes = [form for form in self.formats if form.of_captions]
        found = {f"{prefix}{config}": form for prefix in prefixes for form in of_recipes for config in form.configs}
        return found | {config: form for form in self.formats if not form.of_captions for config in form.configs}

    def about(self, config: str) -> str:
        """Return the line of a config for the card."""
        return self.configs[config].configs[self._split(config)[1]]

    def is_default(self, config: str) -> bool:
        """Whether `load_dataset` takes this config if none is named."""
        return config == next(name for name in self.configs if self._split(name)[1] == "full")

    def of(self, config: str) -> list[ReleaseFile]:
        """Return the files of a config, or of a format; those of all recipes if the config names none."""
        recipe, plain = self._split(config)
        form = self._possible.get(config) or next((f for f in self.formats if plain in f.configs), None)
        name = form.name if form else plain
        files = [file for file in self.files if file.format == name and recipe in ("", recipe_of(file.name))]
        return [file for file in files if "/stage1/" in file.name] if plain == "core" else files

    def _split(self, config: str) -> tuple[str, str]:
        """Split the name of a config into the recipe, if it names one, and the rest."""
        recipe = next((one for one in self.recipes if config.startswith(f"{one}-") and config in self._possible), "")
        return recipe, config.removeprefix(f"{recipe}-") if recipe else config

    def rows(self, config: str) -> int:
        """Return the number of rows of a config."""
        return sum(file.rows for file in self.of(config))

    def bytes(self, config: str) -> int:
        """Return the bytes of a config's files."""
        return sum(file.bytes for file in self.of(config))

    def globs(self, config: str) -> list[str]:
        """Return patterns that match exactly the files of a config."""
        return sorted({_glob(file.name, self.configs[config].suffix) for file in self.of(config)})


def _glob(name: str, suffix: str) -> str:
    *folders, key, base = name.split("/")
    # Releases of earlier versions have the files of all keys in one folder.
    return "/".join([*folders, "*" if base.startswith(f"{key}-") else key, f"*{suffix}"])


def read(lake: Lake, key: str, version: str | None = None) -> Built:
    """Return the newest release of a key, or the one of that name; Conflict if it is not built or was withdrawn."""
    committed = lake.committed("releases", key)
    if committed is None:
        raise Conflict(f"No release of {key} is built yet. Run `kale run release --key {key}` first.")
    found = _read(lake, key, version or release_name(key, committed.fingerprint), committed)
    if found is None and version:
        raise Conflict(f"{version} is no longer among the releases of {key}. Run release again.")
    if found is None:
        raise Conflict(f"A takedown withdrew the release of {key}. Run release again.")
    return found


def read_version(lake: Lake, version: str) -> Built:
    """Return a release by its name, also one that a newer one has replaced; BadConfig if there is none."""
    key = version.rpartition("-")[0]
    committed = lake.committed("releases", key) if "releases" in lake.tables() else None
    found = _read(lake, key, version, committed) if committed else None
    if found is None:
        raise BadConfig(f"There is no release '{version[:80]}'. `kale show releases --key all` lists their files.")
    return found


def _read(lake: Lake, key: str, version: str, committed: Committed) -> Built | None:
    rows = lake.arrow("releases", key, where=EqualTo(term="version", value=version)).to_pylist()
    if not rows:
        return None
    newest = version == release_name(key, committed.fingerprint)
    inputs, at = (committed.inputs, committed.at) if newest else _older(lake, key, version)
    files = {row["name"]: ReleaseFile.of_row(row) for row in rows}
    ordered = [files[name] for name in sorted(files)]
    return Built(version, key, inputs, ordered, add(f.stats for f in ordered), list(_checks(lake, inputs)), at)


def _older(lake: Lake, key: str, version: str) -> tuple[Mapping[str, str], str]:
    """Return the inputs of a release that a newer one has replaced, and when it was built."""
    start = version.removeprefix(f"{key}-")
    folders = {file.path.rpartition("/")[0] for file in lake.files("releases", key)}
    for folder in sorted(one for one in folders if one.rpartition("/")[2].startswith(start)):
        if sealed := read_sealed(lake.storage, folder):
            modified = max(entry.modified for entry in lake.storage.entries(folder))
            return sealed.inputs, modified.isoformat(timespec="seconds")
    raise Conflict(f"The run that made {version} is gone. Run release again.")


def manifest(built: Built, pages: Sequence[str] = ()) -> bytes:
    """Return the list of all its files with their hashes, of its pages, and of the captions in it, as JSON."""
    listed = [
        {"name": f.name, "format": f.format, "rows": f.rows, "bytes": f.bytes, "sha256": f.sha256} for f in built.files
    ]
    captions = {n.removeprefix(CAPTIONS): c for n, c in built.inputs.items() if n.startswith(CAPTIONS)}
    left_out = {name: {"rows": rows, "reason": why} for name, (rows, why) in built.left_out.items()}
    known = {
        "version": built.version, "key": built.key, "captions": captions, "left_out": left_out, "files": listed,
        "pages": [*pages],
    }  # fmt: skip
    return json.dumps(known, indent=1, sort_keys=True).encode() + b"\n"


def _checks(lake: Lake, inputs: Mapping[str, str]) -> Iterator[PartitionCheck]:
    partitions = lake.partitions("captions")
    for name in sorted(n.removeprefix(CAPTIONS) for n in inputs if n.startswith(CAPTIONS)):
        partition = Partition.parse("captions", name)
        committed = partitions.get(partition)
        if committed is None or committed.content != inputs[CAPTIONS + name]:
            yield PartitionCheck(name, "not known", (), ())  # other captions have taken their place
            continue
        found = read_verdict(lake.storage, committed.seal_id)
        if found is None:
            yield PartitionCheck(name, "not checked", (), ())
            continue
        accepted = read_acceptance(lake.storage, committed.seal_id)
        status = "accepted" if accepted and found["status"] == "failed" else str(found["status"])
        yield PartitionCheck(name, status, found["failed"], found["warnings"], accepted["why"] if accepted else "")


def recipe_of(name: str) -> str:
    """The recipe whose captions a file of a release has, by the name of the file."""
    return name.split("/")[1]
