"""The images step as a whole, with real servers on this machine."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.contract.registry import STEPS
from kale_tasks.errors import BadConfig, BadData, Transient
from kale_tasks.images.step import Images
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.tables import Lake
from kale_tasks.progress import Silent
from kale_tasks.runner.repair import repair
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.runner.verify import verify
from tests.images.dns import SERVFAIL, name_server
from tests.images.plain import Plain, plain_server
from tests.images.world import KEY, images, lake_with, pairs_of, rows_of, settings, uid


@pytest.fixture
def server() -> Iterator[Plain]:
    with plain_server() as server:
        yield server


def test_every_pair_ends_with_an_image_or_a_reason(tmp_path: Path, server: Plain) -> None:
    urls = [server.url(i) for i in range(250)] + [server.url(i, "gone") for i in range(20)] + ["no address"]
    of = settings(tmp_path)
    lake = lake_with(of, [{**pair, "sha256": server.sha256(i)} for i, pair in enumerate(pairs_of(urls))])
    rows = images(lake, of)
    assert {rows[uid(url)]["status"] for url in urls[:250]} == {"ok"}
    assert {rows[uid(url)]["reason"] for url in urls[250:]} == {"not_found", "bad_url"}
    assert all(rows[uid(url)]["sha256_matches"] for url in urls[:250])
    stored = _stored(lake, rows, urls[:250])
    assert all(data.startswith(b"\xff\xd8") for data in stored)
    assert len(set(stored)) == 250


def test_a_shard_is_a_webdataset(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path)
    urls = [server.url(i) for i in range(30)]
    lake = lake_with(of, pairs_of(urls))
    rows = images(lake, of)
    (shard,) = {row["shard"] for row in rows.values()}
    with tarfile.open(fileobj=io.BytesIO(lake.storage.read(shard))) as tar:
        names = tar.getnames()
        assert names == [f"{u}.{suffix}" for u in sorted(rows) for suffix in ("jpg", "json")]
        for name in sorted(rows):
            beside = json.loads(tar.extractfile(f"{name}.json").read())  # type: ignore[union-attr]
            assert (beside["uid"], beside["sha256"]) == (name, rows[name]["sha256"])
            member = tar.getmember(f"{name}.jpg")
            assert (member.offset_data, member.size) == (rows[name]["offset"], rows[name]["length"])


def test_the_same_responses_give_the_same_shards(tmp_path: Path, server: Plain) -> None:
    urls = [server.url(i) for i in range(150)]
    digests = []
    for name in ("one", "two"):
        of = settings(tmp_path / name)
        lake = lake_with(of, pairs_of(urls))
        rows = images(lake, of)
        shards = sorted({row["shard"] for row in rows.values()})
        digests.append([(shard, hashlib.sha256(lake.storage.read(shard)).hexdigest()) for shard in shards])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 2


def test_a_killed_run_repeats_only_requests_in_flight_and_ends_in_the_same_rows(tmp_path: Path, server: Plain) -> None:
    urls = [server.url(i, "slowly") for i in range(300)]
    of = settings(tmp_path, "images.fetch.concurrency=8")
    lake = lake_with(of, pairs_of(urls))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-m", "tests.images.runs", str(tmp_path)], env=environment)
    _wait(lambda: server.pictures >= 150)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = server.pictures
    assert before < 290, "the run was over before it was killed"
    rows = images(lake, of)
    assert server.pictures - 300 <= of.parts.part_rows
    assert server.pictures - 300 <= 8 * 4, "only what was on its way is asked for again"
    other = settings(tmp_path / "other")
    whole = images(lake_with(other, pairs_of(urls)), other)
    assert _comparable(rows) == _comparable(whole)
    assert not list((tmp_path / "spool").rglob("part-*"))


def test_a_redrive_requests_only_transient_failures(tmp_path: Path, server: Plain) -> None:
    fine, healing = [server.url(i) for i in range(60)], [server.url(100 + i, "heals") for i in range(60)]
    gone = [server.url(i, "gone") for i in range(60)]
    of = settings(tmp_path, "images.fetch.tries=1")
    lake = lake_with(of, pairs_of(fine + healing + gone))
    first = images(lake, of)
    assert {first[uid(url)]["reason"] for url in healing} == {"server_error"}
    asked = server.pictures
    execute(Run(Images(), lake, of, KEY))
    assert server.pictures == asked, "a finished run is not made again"
    second = images(lake, of, again="again")
    assert server.pictures == asked + 60
    assert {second[uid(url)]["status"] for url in fine + healing} == {"ok"}
    assert {second[uid(url)]["attempts"] for url in healing} == {2}
    assert [second[uid(url)] for url in fine + gone] == [first[uid(url)] for url in fine + gone]
    assert len(set(_stored(lake, second, fine + healing))) == 120


def test_known_images_are_not_requested_again_when_pairs_change(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path)
    lake_with(of, pairs_of([server.url(i) for i in range(50)]))
    images(Lake(of), of)
    asked = server.pictures
    rows = images(lake_with(of, pairs_of([server.url(i) for i in range(20, 80)])), of)
    assert server.pictures == asked + 30
    assert len(rows) == 60


def test_one_image_at_many_urls_is_a_placeholder(tmp_path: Path, server: Plain) -> None:
    same, own = [server.url(7, f"same-{i}") for i in range(12)], [server.url(i) for i in range(200)]
    of = settings(tmp_path, "images.placeholder_count=10")
    lake = lake_with(of, pairs_of(same + own[:7] + own[8:]))
    rows = images(lake, of)
    assert not {uid(url) for url in same} & set(rows)
    out = lake.arrow("quarantine", KEY).to_pylist()
    assert {row["uid"] for row in out} == {uid(url) for url in same}
    assert {row["reason"] for row in out} == {"placeholder"}
    committed = lake.committed("images", KEY)
    assert committed
    assert committed.rows_in == committed.rows + committed.quarantined == 211
    assert len(images(lake, of, again="again")) == len(rows), "a redrive takes none of them in again"


def test_a_run_without_a_resolver_fails(tmp_path: Path) -> None:
    with name_server() as names:
        urls = [f"http://host-{i}.test/a.jpg" for i in range(40)]
        names.known = {f"host-{i}.test": SERVFAIL for i in range(40)}
        of = settings(tmp_path, f"images.fetch.name_servers=['{names.address}']")
        lake = lake_with(of, pairs_of(urls))
        with pytest.raises(Transient, match=r"network seems to be down.*dns_failed"):
            images(lake, of)
        assert lake.committed("images", KEY) is None


def test_the_summary_counts_images_and_names_the_reasons_of_failures(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path)
    lake = lake_with(of, pairs_of([server.url(i) for i in range(20)] + [server.url(i, "gone") for i in range(3)]))
    run = Run(Images(), lake, of, KEY)
    execute(run)
    assert Images().summary(run) == "20 of 23 images stored, failed: not_found 3"


def test_a_run_without_any_image_is_no_success(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path)
    lake = lake_with(of, pairs_of([server.url(i, "gone") for i in range(5)]))
    with pytest.raises(BadData, match="None of 5 images could be fetched"):
        images(lake, of)
    assert lake.committed("images", KEY) is None


def test_a_run_stops_when_the_network_goes_down(tmp_path: Path) -> None:
    with plain_server() as server, name_server() as names:
        urls = [f"http://photos.test:{server.port}/ok/{i}.jpg" for i in range(40)]
        urls += [f"http://other-{i}.test:{server.port}/ok/{i}.jpg" for i in range(40)]
        names.known = {"photos.test": ["127.0.0.1"]} | {f"other-{i}.test": SERVFAIL for i in range(40)}
        of = settings(tmp_path, f"images.fetch.name_servers=['{names.address}']", "parts.part_rows=20")
        lake = lake_with(of, [{"uid": f"{i:032x}", "url": url} for i, url in enumerate(urls)])
        assert len(images(lake, of)) == 80, "dead names beside a network that lives are failures like others"
    dead = settings(tmp_path, "images.fetch.name_servers=['127.0.0.1:9']", "parts.part_rows=20")
    with pytest.raises(Transient, match="network seems to be down"):
        images(lake, dead, again="again")


def test_requests_to_a_host_stay_within_its_limits(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path, "images.fetch.host_rate=40", "images.fetch.host_concurrency=3")
    images(lake_with(of, pairs_of([server.url(i, "slowly") for i in range(60)])), of)
    times = sorted(server.times)
    assert server.together <= 3
    for start in times:
        assert sum(start <= t < start + 1 for t in times) <= 40 + 0.25 * 40 + 1
    assert server.paths[:2] == ["/robots.txt", "/.well-known/tdmrep.json"]


def test_retry_after_pauses_the_whole_host(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path, "images.fetch.concurrency=4", "images.fetch.host_concurrency=1")
    rows = images(lake_with(of, pairs_of([server.url(i, "busy" if i == 0 else "ok") for i in range(20)])), of)
    assert {row["status"] for row in rows.values()} == {"ok"}
    at = server.paths.index(next(p for p in server.paths if p.startswith("/busy")))
    assert server.times[at + 1] - server.times[at] >= 0.99


def test_fetching_requires_a_contact(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path, "images.fetch.contact=null")
    with pytest.raises(BadConfig, match=r"images\.fetch\.contact"):
        images(lake_with(of, pairs_of([server.url(1)])), of)


def test_the_user_agent_names_the_contact(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path)
    images(lake_with(of, pairs_of([server.url(1)])), of)
    assert all("https://example.org/kale" in agent for agent in server.agents)


def _stored(lake: Lake, rows: dict[str, dict[str, Any]], urls: list[str]) -> list[bytes]:
    found = [rows[uid(url)] for url in urls]
    return read_images(lake, [Span(row["shard"], row["offset"], row["length"]) for row in found])


def _comparable(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in rows[u].items() if k != "fetched_at"} for u in sorted(rows)]


def _wait(done: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_a_repair_fetches_only_what_was_in_damaged_files(tmp_path: Path, server: Plain) -> None:
    unchecked = replace(STEPS["images"], suite=None)
    of = settings(tmp_path)
    lake = lake_with(of, pairs_of([server.url(i) for i in range(250)]))
    before = images(lake, of)
    asked, shard = server.pictures, sorted({row["shard"] for row in before.values()})[0]
    lost = [row for row in before.values() if row["shard"] == shard]
    lake.storage.put(shard, lake.storage.read(shard)[:-10] + b"0123456789")
    assert repair(lake, of, Silent(), step="images", specs=[unchecked]).left == {}
    after = rows_of(lake)
    assert (server.pictures - asked, shard in {row["shard"] for row in after.values()}) == (len(lost), False)
    assert {u: row["sha256"] for u, row in after.items()} == {u: row["sha256"] for u, row in before.items()}
    assert verify(lake, step="images").damaged == []


def test_images_whose_table_file_is_damaged_are_made_again(tmp_path: Path, server: Plain) -> None:
    of = settings(tmp_path)
    lake = lake_with(of, pairs_of([server.url(i) for i in range(50)]))
    before, path = images(lake, of), lake.files("images", KEY)[0].path
    lake.storage.put(path, lake.storage.read(path)[:-50])
    with pytest.raises(BadData, match=f"Run `kale repair --key {KEY}`"):
        rows_of(lake)
    assert repair(lake, of, Silent(), key=KEY, specs=[replace(STEPS["images"], suite=None)]).left == {}
    assert {u: row["sha256"] for u, row in rows_of(lake).items()} == {u: row["sha256"] for u, row in before.items()}
