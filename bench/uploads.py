"""Publications beside `HfApi.upload_folder`: large and small, a first time, again, and with some files changed."""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bench.frame import Page
from kale_tasks.bench.measure import Ratio, Sample, Series, ratio, timed

# Each round has repositories of its own: a release is published for the first time only once. Above 100 files
# `kale publish` goes through a pull request.
_ROUNDS, _ROUNDS_OF_MANY = 15, 7
_FILE = 2_000_000  # bytes
_ALLOWED = 0.2  # seconds by which a small publication may take longer
OURS, BARE = "kale publish", "upload_folder"
Row = tuple[object, ...]


def uploads(page: Page, megabytes: int) -> Iterator[Row]:
    """Publish by both tools in turns, all of `megabytes`, a tenth of it and five times as much."""
    memory = Path("/dev/shm")  # or disks would be measured, which write later what the other tool has sent
    with tempfile.TemporaryDirectory(prefix="kale-bench-", dir=memory if memory.is_dir() else None) as name:
        yield from _compared(page, Path(name), megabytes)


def _compared(page: Page, folder: Path, megabytes: int) -> Iterator[Row]:
    url, requests = _server(folder / "server")
    os.environ["HF_ENDPOINT"] = url
    cases = {  # megabytes, rounds, and what may take a moment longer; imports are paid by the first
        "small_": (megabytes // 10, _ROUNDS, ["first time"]),
        "": (megabytes, _ROUNDS, ["the same again", "one in ten is new"]),
        "many_": (5 * megabytes, _ROUNDS_OF_MANY, []),
    }
    for name, (size, rounds, allowed) in cases.items():
        number = size * 1_000_000 // _FILE
        found = _measured(folder / str(size), number, rounds, url, requests)
        for (case, tool), series in found.items():
            sent = f"{series.figure('requests'):.0f} requests, {series.figure('mb'):.1f} MB sent"
            yield f"{tool}: {size} MB in {number} files, {case}", *series.cells, sent
        if name != "small_":
            bare, ours = (found["first time", tool] for tool in (BARE, OURS))
            page.ratio(f"{name}upload_wall", ratio(bare, ours, lambda sample: sample.wall))
        for case in allowed:
            page.ratio(f"{name}{case.replace(' ', '_')}_allowed", _allowed(found[case, OURS], found[case, BARE]))


def _allowed(ours: Series, bare: Series) -> Ratio:
    pairs = zip(ours.samples, bare.samples, strict=True)
    return Ratio([(other.wall + _ALLOWED) / one.wall for one, other in pairs], ours.busy or bare.busy)


def _measured(folder: Path, number: int, rounds: int, url: str, requests: "_Requests") -> dict[tuple[str, str], Series]:
    """Both tools' samples of each case, in the order in which they are published."""
    old = [_file(folder / "old", i, 0) for i in range(number)]
    new = [_file(folder / "new", i, int(i % 10 == 0)) for i in range(number)]
    cases = {"first time": ("old", old), "the same again": ("old", old), "one in ten is new": ("new", new)}
    samples = defaultdict[tuple[str, str], list[Sample]](list)
    for turn in range(rounds):
        for case, (data, files) in cases.items():
            for tool in (OURS, BARE)[:: -1 if turn % 2 else 1]:
                act = partial(_publish if tool == OURS else _upload, url, f"o/{tool[:4]}-{number}-{turn}")
                before = requests.get_counts()
                one = timed(partial(act, folder / data, files))
                after = requests.get_counts()
                figures = {"requests": after[0] - before[0], "mb": (after[1] - before[1]) / 1e6}
                samples[case, tool].append(Sample(one.wall, one.cpu, busy=one.busy, figures=figures))
        shutil.rmtree(folder.parent / "server" / "datasets")
    return {name: Series(each) for name, each in samples.items()}


def _publish(url: str, repo: str, folder: Path, files: Sequence[Any]) -> None:
    from huggingface_hub import HfApi

    from kale_tasks.lake.storage.folder import FolderStorage
    from kale_tasks.progress import Silent
    from kale_tasks.release.targets.base import Publication
    from kale_tasks.release.targets.hub import Hub
    from kale_tasks.settings import load

    place = Hub(f"hf://datasets/{repo}", load().settings)
    place._api = HfApi(endpoint=url)
    listing = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in files]
    manifest = json.dumps({"version": folder.name, "files": listing}).encode()
    pages = {"README.md": b"# x\n", "manifest.json": manifest}
    place.publish(Publication(folder.name, FolderStorage(folder), files, pages), place.current(), Silent())


def _upload(url: str, repo: str, folder: Path, files: Sequence[Any]) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=url)
    api.create_repo(repo, repo_type="dataset", exist_ok=True)
    api.upload_folder(repo_id=repo, repo_type="dataset", folder_path=folder)


def _file(folder: Path, number: int, edition: int) -> Any:
    from kale_tasks.release.files import ReleaseFile

    folder.mkdir(parents=True, exist_ok=True)
    name = f"{'changed' if edition else 'part'}-{number:04d}.parquet"
    data = random.Random(number * 10 + edition).randbytes(_FILE)
    (folder / name).write_bytes(data)
    return ReleaseFile(name, name, "captions", 1, len(data), hashlib.sha256(data).hexdigest())


class _Requests:
    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def get_counts(self) -> tuple[int, int]:
        self._pipe.send("counts")
        counts: tuple[int, int] = self._pipe.recv()
        return counts


def _server(folder: Path) -> tuple[str, _Requests]:
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs), daemon=True).start()
    return ours.recv(), _Requests(ours)


def _serve(folder: Path, pipe: Any) -> None:
    from tests.hub.server import HubServer

    hub = HubServer(folder)
    pipe.send(hub.url)
    with suppress(EOFError):  # ends with the process that asks
        while pipe.recv():
            pipe.send((len(hub.requests), hub.received_bytes))
