"""A walk through docker-compose.yml: what is done to the containers, what is seen, and the table of faults."""

import json
import time
from collections.abc import Sequence
from typing import Any

from kale_tasks.errors import KaleError
from kale_tasks.world.demo.chain import DAGS
from tests.containers import scripts
from tests.containers.faults import Fault
from tests.containers.site import ROOT, Site, run, wait

CACHE = ROOT / ".cache" / "containers"
STAGE1 = ("kale_ingest", "kale_images", "kale_stage1")
PATIENCE = 900.0
KEYS = [f"2026-11-{day:02d}" for day in range(1, 11)]
_PAIRS = 20


class Walk:
    """A site, what is said of it, and the rows of the table of faults."""

    def __init__(self, site: Site) -> None:
        self.site, self._began, self._log = site, time.monotonic(), CACHE / "log.txt"
        self._rows = CACHE / "rows.jsonl"
        self._earlier = set[str]()  # runs of the key before it was made this time

    def say(self, line: str) -> None:
        """Print a line with the time, and keep it in the log."""
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        text = f"{minutes:3d}:{seconds:02d}  {line}"
        print(text, flush=True)
        with self._log.open("a") as out:
            out.write(text + "\n")

    def build(self) -> None:
        """Check out the code and build the image as docker-compose.yml says."""
        began = time.monotonic()
        self.site.check_out()
        self.say(f"docker compose build, commit {run('git', 'rev-parse', '--short', 'HEAD', folder=ROOT).strip()}")
        self.site.build()
        size = json.loads(run("docker", "image", "inspect", "kale:0.1.0"))[0]["Size"]
        self.say(f"the image is built after {time.monotonic() - began:.0f} s, {size / 1e9:.2f} GB")

    def up(self, *words: str) -> None:
        """Start everything and wait until it is healthy."""
        self.site.compose("up", "-d", "--no-build", *words)
        seconds = self.site.wait_healthy()
        self.say(f"every service is healthy after {seconds:.0f} s")

    def land(self) -> None:
        """Put the landing files of all keys into S3."""
        landed = self.site.python(scripts.LAND, KEYS=str(len(KEYS)), PAIRS=str(_PAIRS))
        self.say(f"{len(landed)} keys of {_PAIRS} pairs have landed in S3")

    def unpause(self, dags: Sequence[str]) -> None:
        """Unpause some Dags and pause the other ones of the chain."""
        for dag in DAGS:
            self.site.rest.send("PATCH", f"/dags/{dag}", {"is_paused": dag not in dags})

    def make(self, key: str, faults: Sequence[Fault] = (), dags: Sequence[str] = STAGE1) -> None:
        """Make a key up to the last of some Dags, while faults happen."""
        began = time.monotonic()
        self._earlier = set()
        self._earlier = {run_["dag_run_id"] for run_ in self._runs(key)}
        self.site.rest.send("POST", "/dags/kale_ingest/dagRuns", {"logical_date": None, "partition_key": key})
        for fault in faults:
            self._inject(key, fault, dags[-1])
        wait(lambda: self._ended(key, dags[-1]), PATIENCE, lambda: f"{self._states(key)}")
        healthy = self.site.wait_healthy()
        self.say(f"{key} is made after {time.monotonic() - began:.0f} s; all healthy {healthy:.0f} s later")

    def happened(self, fault: str, running: str, key: str) -> None:
        """Add a row to the table of faults."""
        with self._rows.open("a") as out:
            out.write(json.dumps({"fault": fault, "while": running, "key": key}) + "\n")

    def _inject(self, key: str, fault: Fault, last: str) -> None:
        wait(lambda: fault.task in self._running(key) or self._ended(key, last), PATIENCE,
             lambda: f"{fault.task} does not begin: {self._states(key)}")  # fmt: skip
        if self._ended(key, last):
            self.say(f"{key} ended before {fault.title} could happen")
            return
        time.sleep(3)  # the command of the task is under way
        running = ", ".join(self._running(key)) or "nothing"
        fault.inject(self.site, fault.service)
        self.say(f"{key} {fault.title} while {running} ran")
        self.happened(fault.title, running, key)

    def _running(self, key: str) -> list[str]:
        try:
            found = self.site.rest.get("/dags/~/dagRuns/~/taskInstances?limit=100&state=running")["task_instances"]
        except (OSError, KaleError):  # the api-server may be what is gone
            return []
        runs = {run_["dag_run_id"] for run_ in self._runs(key)}
        return sorted({task["task_id"] for task in found if task["dag_run_id"] in runs})

    def _runs(self, key: str) -> list[dict[str, Any]]:
        found = self.site.rest.get("/dags/~/dagRuns?limit=500&order_by=-id")["dag_runs"]
        return [one for one in found if one["partition_key"] == key and one["dag_run_id"] not in self._earlier]

    def _states(self, key: str) -> dict[str, str]:
        try:
            return {run_["dag_id"]: run_["state"] for run_ in reversed(self._runs(key))}
        except (OSError, KaleError):
            return {}

    def _ended(self, key: str, last: str) -> bool:
        states = self._states(key)
        if "failed" in states.values():
            raise RuntimeError(f"{key}: {states}")
        return states.get(last) == "success"

    def compare(self) -> None:
        """Make the keys without faults in another lake, compare the contents of all tables, and print the table."""
        rows = [json.loads(line) for line in self._rows.read_text().splitlines()]
        found = self.site.python(scripts.CONTENTS)
        keys = sorted({row["key"] for row in rows} | {key for key in KEYS[:1] if any(key in name for name in found)})
        other = {
            "KALE_WAREHOUSE": "s3://kale/undisturbed",
            "KALE_CATALOG": f"postgresql+psycopg2://kale:{self.site.env['POSTGRES_PASSWORD']}@postgres/undisturbed",
            "KALE_INGEST__ENGINE": "duckdb",
        }
        self.site.psql("CREATE DATABASE undisturbed", check=False)
        self.site.python(scripts.UNDISTURBED, "celery-worker", KEYS=json.dumps(keys), **other)
        wanted = self.site.python(scripts.CONTENTS, **other)
        differing = {name for name, content in wanted.items() if found.get(name) != content}
        total = sum(count for count, _ in wanted.values())
        self.say(f"{len(wanted)} partitions with {total} rows, made without faults; differing: {sorted(differing)}")
        (CACHE / "contents.json").write_text(json.dumps({"undisturbed": wanted, "disturbed": found}, indent=1))
        for row in rows:
            of_key = {name for name in wanted if f" {row['key']}" in name}
            equal = bool(of_key) and not of_key & differing
            outcome = f"{len(of_key)} partitions {'equal' if equal else 'DIFFERENT'}"
            self.say(f"| {row['fault']} | {row['while']} | {row['key']} | {outcome} |")
        self._rows.unlink()
