"""Runs docker-compose.yml in a real engine: `make containers`.

Parts: chain (a key to a release), faults, hosts (nothing shared but S3 and PostgreSQL, workers lost), upgrade (from the
code of an earlier commit, named by UPGRADE_FROM, in an image with today's packages).
"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kale_tasks.world.demo.chain import DAGS
from tests.containers import scripts
from tests.containers.faults import LOSSES, ROUNDS
from tests.containers.pictures import take_pictures
from tests.containers.site import ROOT, Site, run, wait
from tests.containers.walk import CACHE, KEYS, PATIENCE, STAGE1, Walk

# The same packages with the code of another commit.
_OLDER = "FROM kale:0.1.0\nRUN rm -rf kale_tasks config sql dags plugins\nCOPY --chown=kale . .\n"


def chain(walk: Walk) -> None:
    """A key through the whole chain to a release in S3."""
    walk.unpause(DAGS)
    walk.make(KEYS[0], dags=(*STAGE1, "kale_stage2"))
    wait(lambda: _released(walk.site), PATIENCE, lambda: "no release")
    found = walk.site.python(scripts.CONTENTS)
    walk.say(f"released: {[name for name in found if name.startswith(('releases', 'models'))]}")
    said = walk.site.rest.get(f"{_last_run(walk.site)}/taskInstances/dense.check/logs/1?full_content=true")
    for line in (str(event.get("event", "")) for event in said["content"] if isinstance(event, dict)):
        if "report on this key" in line or "passed" in line:
            walk.say(f"log of dense.check: {line}")
    take_pictures(walk.site)
    for row in walk.site.python(scripts.DOCTOR):
        walk.say(f"kale doctor: {row['check']}: {row['state']} ({row['found']})")


def _last_run(site: Site) -> str:
    run_ = site.rest.get("/dags/kale_stage1/dagRuns?state=success&order_by=-id&limit=1")["dag_runs"][0]
    return f"/dags/kale_stage1/dagRuns/{run_['dag_run_id']}"


def _released(site: Site) -> bool:
    return any(run_["state"] == "success" for run_ in site.rest.get("/dags/kale_release/dagRuns")["dag_runs"])


def faults(walk: Walk) -> None:
    """Kill and restart every service, cut the database off, stop with a short grace; then compare the rows."""
    walk.unpause(STAGE1)
    for key, round_ in zip(KEYS[1:], ROUNDS, strict=False):
        if key >= os.environ.get("FROM_KEY", ""):
            walk.make(key, round_)


def hosts(walk: Walk) -> None:
    """Two workers and two Spark workers that share no volume; one of each is lost."""
    walk.unpause(STAGE1)
    walk.site = at_hosts = Site(walk.site.folder, "tests/containers/hosts.yml")
    at_hosts.env = read_env(at_hosts.folder)
    walk.up("--scale", "celery-worker=2", "--scale", "spark-worker=2")
    ids = at_hosts.compose("ps", "-q").split()
    for one in json.loads(run("docker", "inspect", *ids)):
        address = next(iter(one["NetworkSettings"]["Networks"].values()))["IPAddress"]
        volumes = [mount["Name"] for mount in one["Mounts"] if mount["Type"] == "volume"]
        walk.say(f"{one['Name'].strip('/')} {address} volumes: {', '.join(volumes) or 'none'}")
    keys = KEYS[7:]
    for key, round_ in zip(keys, LOSSES, strict=False):
        walk.make(key, round_)
        walk.up("--scale", "celery-worker=2", "--scale", "spark-worker=2")


def restore(walk: Walk) -> None:
    """The catalog goes back to a backup that is older than the files: a key made since is made again from its parts."""
    site, early, late = walk.site, KEYS[8], KEYS[9]
    walk.unpause(STAGE1)
    walk.make(early)
    dump = site.compose("exec", "-T", "postgres", "pg_dump", "-U", "kale", "kale")
    walk.make(late)
    before = site.python(scripts.CONTENTS)
    site.psql("DROP DATABASE kale WITH (FORCE)")
    site.psql("CREATE DATABASE kale")
    site.compose("exec", "-T", "postgres", "psql", "-q", "-U", "kale", "-d", "kale", given=dump)
    restored = site.python(scripts.CONTENTS)
    lost = sorted(before.keys() - restored.keys())
    walk.say(f"the restored catalog lacks {len(lost)} partitions, all of {late}: {all(late in name for name in lost)}")
    walk.make(late)
    same = site.python(scripts.CONTENTS) == before
    walk.say(f"{late} made again: all {len(before)} partitions are {'equal' if same else 'DIFFERENT'}")


def upgrade(walk: Walk) -> None:
    """A key with the code of an earlier commit; then the new image on the same volumes, and the next key."""
    site = walk.site
    site.compose("down", "-v")
    commit = os.environ.get("UPGRADE_FROM", "HEAD~200")
    name = run("git", "rev-parse", "--short", commit, folder=ROOT).strip()
    before = CACHE / "before"
    run("rm", "-rf", str(before))
    before.mkdir()
    run("sh", "-c", f"git archive {commit} | tar x -C {before}", folder=ROOT)
    (before / "Dockerfile").write_text(_OLDER)
    run("docker", "build", "-t", "kale:0.0.9", ".", folder=before)
    write_env(site, IMAGE_TAG="0.0.9")
    walk.say(f"the code of {name} runs")
    walk.up()
    walk.land()
    walk.unpause(STAGE1)
    walk.make(KEYS[0])
    old = site.python(scripts.CONTENTS)
    write_env(site, IMAGE_TAG="0.1.0")
    walk.up()
    kept = site.python(scripts.CONTENTS)
    same = sum(kept.get(name) == content for name, content in old.items())
    walk.say(f"after the upgrade {same} of {len(old)} partitions are as before")
    walk.make(KEYS[1])
    walk.make(KEYS[0])
    for key in KEYS[:2]:
        walk.happened(f"upgrade from {name} with data", "nothing", key)
    walk.compare()


def read_env(folder: Path) -> dict[str, str]:
    """Read the `.env` of a checkout."""
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


def write_env(site: Site, **changed: str) -> None:
    """Change `.env`."""
    site.env |= changed
    (site.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in site.env.items()))


def compare(walk: Walk) -> None:
    """Compare what faults and losses left with an undisturbed run."""
    walk.compare()


PARTS = {
    "chain": chain, "faults": faults, "hosts": hosts, "compare": compare, "restore": restore, "upgrade": upgrade
}  # fmt: skip


def main(names: Sequence[str]) -> None:
    """Run parts; `build` and `up` come first unless parts are named."""
    walk = Walk(Site(CACHE / "now"))
    versions = (
        run("docker", "compose", "version"),
        run("docker", "version", "-f", "Docker Engine {{.Server.Version}}"),
    )
    walk.say(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M}, load {os.getloadavg()[0]:.0f}, {', '.join(map(str.strip, versions))}"
    )
    if not names or "build" in names:
        walk.build()
    else:
        walk.site.env = read_env(walk.site.folder)
    if not names or "up" in names:
        walk.up()
        walk.land()
    for name in [one for one in PARTS if not names or one in names]:
        PARTS[name](walk)
    if not names or "down" in names:
        walk.site.compose("down", "-v")


if __name__ == "__main__":
    main(sys.argv[1:])
