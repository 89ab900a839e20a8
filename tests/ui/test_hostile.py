"""Texts of strangers in every place of the lake, on every page: all of them are shown as text, and cut."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kale_tasks.lake import reviews
from kale_tasks.lake.reviews import EDIT, REPORT, Review
from kale_tasks.lake.tables import Lake
from kale_tasks.lake.verdicts import BlockedRun, block
from kale_tasks.models import students
from kale_tasks.quality.report import make_report
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.ui.app import make_app
from kale_tasks.ui.site import Site
from tests.quality.world import STEPS, STUDENT, World, commit, commit_student, open_world
from tests.ui.people import Person
from tests.ui.rendered import ALL, HOSTILE, HTML, KEY, OTHER, spoil

_SHORT = [text for text in HOSTILE.values() if len(text) < 200]
_SIGNS = (
    "<script",
    "<img src=x",
    "onerror=alert(1)>",
    "<b>",
    'href="javascript',
    "href=javascript",
    "</title></style>",
)
_LONGEST = 600_000  # characters of a page; one of the texts has more


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Hostile texts as captions, and as what models, servers and people say of rows, runs, students and releases."""
    made, everything = open_world(tmp_path_factory.mktemp("hostile")), " ".join(_SHORT)
    commit_student(made, verdict=everything, base=everything, accepted=True)
    students.promote(made, STUDENT, everything)
    world = World(KEY, seed=7, pairs=60)
    for step in STEPS:
        commit(made, world, step, _with_details if step == "images" else spoil, quarantined=2, detail=everything)
    commit(made, World(OTHER, seed=7, pairs=60), "ingest")
    base = made.committed("pairs", OTHER)
    assert base
    failed = [f"{text} (a check)" for text in _SHORT]
    block(made.storage, BlockedRun("ingest", "pairs", OTHER, "f", "abc", "seal", base.origin, "", {}, failed, "now"))
    uid = world.pairs[0]["uid"]
    said = [Review(uid, KEY, kind, by=text, text=text) for kind in (REPORT, EDIT) for text in _SHORT]
    reviews.add(made, KEY, said)
    make_report(made, made.settings, KEY)
    execute(Run(Release(), made, made.settings, KEY))
    return made


def _with_details(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    failed = {"status": "failed", "reason": "http_404", "shard": None}
    failing = [row | failed | {"detail": text} for row, text in zip(rows, HOSTILE.values(), strict=False)]
    return [*rows[: -len(failing)], *failing]


@pytest.fixture(scope="module")
def client(lake: Lake) -> Iterator[TestClient]:
    variables = {"KALE_WAREHOUSE": lake.settings.warehouse, "KALE_LANDING": lake.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person(*ALL))), follow_redirects=False) as client:
        yield client


def test_no_page_takes_the_text_of_a_stranger_for_its_own(lake: Lake, client: TestClient, tmp_path: Path) -> None:
    uids = [row["uid"] for row in World(KEY, seed=7, pairs=60).pairs]
    (version,) = set(lake.arrow("releases", columns=["version"])["version"].to_pylist())
    pages = {
        "/": "is blocked", "/quality": "broken", "/models": "promoted", f"/releases/{version}": "Card",
        f"/report/{KEY}": KEY, f"/captions?key={KEY}": "caption", f"/captions?key={KEY}&sort=longest": "characters",
        f"/keys/{KEY}": "Checks", f"/keys/{OTHER}": "is blocked", "/reports": KEY, "/canary": "Canary",
        f"/votes?key={KEY}": "better", **{f"/rows/{KEY}/{uid}": uid for uid in (*uids[:8], *uids[-8:])},
        **{f"/try?key={KEY}&uid={uid}": "Try it" for uid in uids[:8]},
        f"/captions?key={KEY}&q=%3Cscript%3E": "&lt;script&gt;",
        f"/captions?key={KEY}&host=%22%3E%3Cb%3E": "No caption",
        "/keys/%3Cscript%3E": "", f"/rows/{KEY}/%3Cscript%3E": "", "/releases/%3Cscript%3E": "",
    }  # fmt: skip
    seen = ""
    for path, shown in pages.items():
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 200 or "%3Cscript%3E" in path, (path, answer.text[:300])
        assert shown in answer.text, path
        assert not [sign for sign in _SIGNS if sign in answer.text], path
        assert len(answer.text) < _LONGEST, (path, len(answer.text))
        seen += answer.text
    assert len(re.findall(r"&lt;script&gt;document\.title", seen)) > 20, "the texts are shown"
    assert "\u202e" in seen and seen.count("<bdi>") > 100, "texts that turn the direction are kept apart"
