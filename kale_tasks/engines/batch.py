"""A provider's batch API: a file of requests is handed in, and answered within a day at a lower price.

Which requests a batch holds is kept in the lake, so that a process which comes later finds its answers. A request is
known by its content: it is never in two batches at once, and its answer is found by whoever asks the same.
"""

import hashlib
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kale_tasks.engines.base import ENGINE_ERROR, IMAGE_BROKEN, Answer, Engine, Model, Request
from kale_tasks.engines.batch_api import ENDED, BatchApi
from kale_tasks.engines.chat_api import BUSY, read_completion, rejected, request_body
from kale_tasks.errors import BadConfig, Paused
from kale_tasks.imaging import BrokenImage
from kale_tasks.lake.storage.base import Storage
from kale_tasks.process import SCRATCH
from kale_tasks.settings.caption import Caption

_MOST_REQUESTS = 50_000  # in a file, by OpenAI's rules
_LOOK_SECONDS = 10.0
_ENDLESS = 1 << 62


class BatchEngine(Engine):
    """Collects requests in files, waits for their batches, and pauses the task if they take long."""

    devices = 0  # a provider charges tokens
    takes_all = True
    loads = False

    def __init__(self, settings: Caption, model: Model) -> None:
        super().__init__(settings, model)
        if len(model.endpoints) != 1:
            raise BadConfig("caption.engine=batch needs one server with a batch API in caption.endpoints.")
        self.room = _ENDLESS  # a batch takes long: all requests of a chunk belong into the next one
        self._api = BatchApi(model.endpoints[0], settings.endpoints.api_key)
        self._storage: Storage | None = None
        self._asked: defaultdict[str, list[int]] = defaultdict(list)  # requests without an answer, by content
        self._unsent: set[str] = set()
        self._tries: Counter[str] = Counter()
        self._open: dict[str, set[str]] = {}  # the requests of each batch that has not been read
        self._done: list[Answer] = []

    def keep_in(self, storage: Storage, folder: str) -> None:
        """Set the folder that says which requests are in which batch."""
        self._storage, self._folder = storage, folder

    @property
    def pending(self) -> int:
        return sum(map(len, self._asked.values())) + len(self._done)

    def start(self) -> None:
        self._spool = tempfile.TemporaryDirectory(prefix=f"{SCRATCH}batch-")
        self._open = {record["id"]: set(record["requests"]) for record in self._records()}
        self.times.starts += 1

    def submit(self, request: Request) -> None:
        try:
            body = request_body(self.model, request)
        except BrokenImage as error:
            self._done.append(Answer(request.id, reason=IMAGE_BROKEN, detail=str(error)))
            return
        line = json.dumps(body, sort_keys=True)
        name = hashlib.sha256(line.encode()).hexdigest()[:40]
        if name not in self._asked:
            entry = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
            self._path(name).write_text(json.dumps(entry) + "\n")
            if not self._is_in_batch(name):
                self._unsent.add(name)
        self._asked[name].append(request.id)

    def finished(self) -> list[Answer]:
        waits_until = time.monotonic() + self.settings.batch_wait_s
        while not self._done:
            self._hand_in()
            for id in list(self._open):
                self._look(id)
            if self._done or self._unsent:
                continue
            if time.monotonic() >= waits_until:
                self._pause()
            time.sleep(min(_LOOK_SECONDS, self.settings.batch_poll_s, self.settings.batch_wait_s))
        done, self._done = self._done, []
        return done

    def stop(self) -> None:
        if "_spool" in self.__dict__:
            self._spool.cleanup()

    def _is_in_batch(self, name: str) -> bool:
        return any(name in held for held in self._open.values())

    def _path(self, name: str) -> Path:
        return Path(self._spool.name, f"{name}.json")

    def _hand_in(self) -> None:
        for number, names in enumerate(self._files()):
            file = Path(self._spool.name, "requests.jsonl")
            with file.open("wb") as sink:
                for name in names:
                    sink.write(self._path(name).read_bytes())
            batch = self._api.create(file, f"{self.model.name}-{number}")
            record = {"id": batch["id"], "requests": names, "read": False}
            self._keep(record)
            self._open[batch["id"]] = set(names)
            self._unsent -= set(names)

    def _files(self) -> Iterator[list[str]]:
        names, size, most = list[str](), 0, self.settings.batch_file_mb * 1_000_000
        for name in sorted(self._unsent):
            length = self._path(name).stat().st_size
            if names and (size + length > most or len(names) >= _MOST_REQUESTS):
                yield names
                names, size = [], 0
            names.append(name)
            size += length
        if names:
            yield names

    def _look(self, id: str) -> None:
        """Read the answers of a batch that has ended. What it did not answer is for the next one."""
        batch = self._api.find(id)
        if batch["status"] not in ENDED:
            return
        if batch["status"] == "failed":
            self._raise_failure(batch)
        record = next(one for one in self._records() if one["id"] == id)
        answered = self._read(batch, repeated=record["read"])
        self._keep({**record, "read": True})
        for name in self._open.pop(id) - answered:
            if name in self._asked:
                self._ask_again(name, batch)

    def _ask_again(self, name: str, batch: Any) -> None:
        self._tries[name] += 1
        if self._is_in_batch(name):
            return
        if self._tries[name] < self.settings.tries:
            self._unsent.add(name)
        else:
            detail = f"no answer in {self._tries[name]} batches; the last one, {batch['id']}, is {batch['status']}"
            self._answer(name, Answer(0, reason=ENGINE_ERROR, detail=detail))

    def _raise_failure(self, batch: Any) -> None:
        """Report a batch whose file was refused as a whole, and forget it."""
        assert self._storage
        self._storage.delete(f"{self._folder}/{batch['id']}.json")
        errors = (batch.get("errors") or {}).get("data") or [{}]
        said = "; ".join(str(error.get("message", "")) for error in errors[:3])
        if any(error.get("code") == "token_limit_exceeded" for error in errors):
            raise Paused(f"The provider has no room for another batch: {said}", self._later())
        raise BadConfig(f"The provider refused batch {batch['id']} of {self.model.name}: {said}")

    def _read(self, batch: Any, *, repeated: bool) -> set[str]:
        """Take the answers out of the files of a batch. Lines may be in any order, twice, cut or of nobody's."""
        answered: set[str] = set()
        for field in ("output_file_id", "error_file_id"):
            if not batch.get(field):
                continue
            file = Path(self._spool.name, "answers.jsonl")
            self._api.download(batch[field], file)
            with file.open("rb") as lines:
                for line in lines:
                    found = _answer_of(line, self.task.sampling.max_tokens)
                    if found and found[0] not in answered:
                        answered.add(found[0])
                        self._answer(found[0], found[1], repeated=repeated)
        return answered

    def _answer(self, name: str, answer: Answer, *, repeated: bool = False) -> None:
        self._path(name).unlink(missing_ok=True)
        for id in self._asked.pop(name, ()):
            self._done.append(Answer(**{**vars(answer), "id": id, "repeated": repeated}))

    def _pause(self) -> None:
        raise Paused(f"{len(self._open)} batches of {self.model.name} are not ready. Run again later.", self._later())

    def _later(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.settings.batch_poll_s)

    def _records(self) -> list[dict[str, Any]]:
        assert self._storage, "keep_in was not called"
        paths = [entry.path for entry in self._storage.entries(self._folder)]
        return [json.loads(self._storage.read(path)) for path in paths]

    def _keep(self, record: dict[str, Any]) -> None:
        assert self._storage
        self._storage.put(f"{self._folder}/{record['id']}.json", json.dumps(record).encode())


def _answer_of(line: bytes, max_tokens: int) -> tuple[str, Answer] | None:
    """Read a line of answers; None if it has none, or a failure that another try may change."""
    try:
        found = json.loads(line)
        name, response = found["custom_id"], found.get("response") or {}
        status = response.get("status_code", 500)
        if status == 200:
            return name, read_completion(0, response["body"], max_tokens)
        return None if status in BUSY else (name, rejected(0, f"{status} {json.dumps(response.get('body'))}"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
