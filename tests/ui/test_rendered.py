"""Every page against a real application and a real lake, without a browser: what it says, refuses and escapes."""

import os
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kale_tasks.lake.tables import Lake
from kale_tasks.release.shards import release_name
from kale_tasks.release.step import Release
from kale_tasks.runner.run import Run
from kale_tasks.runner.verbs import execute
from kale_tasks.ui.access import ActiveRun
from kale_tasks.ui.app import make_app
from kale_tasks.ui.site import Site
from tests.quality.world import STEPS, World, commit, open_world
from tests.ui.people import Person
from tests.ui.rendered import ALL, HOSTILE, HTML, KEY, OTHER, client, form_of, lake, person, uid_of

__all__ = ["client", "lake", "person"]


PAGES = [
    "/", "/captions", f"/captions?key={KEY}", f"/keys/{KEY}", "/votes", "/quality", "/models", "/releases", "/canary",
    "/try", "/reports",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_a_page_opens_and_may_run_no_script_and_load_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "script-src" not in policy
    assert answer.headers["cache-control"] == "private, no-store"
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_who_may_only_read_sees_no_form_that_acts(lake: Lake, path: str) -> None:
    variables = {"KALE_WAREHOUSE": lake.settings.warehouse, "KALE_LANDING": lake.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person()))) as reader:
        shown = reader.get(path).text
    assert not re.search(r'<form method="post"[^>]*>(?:(?!</form>).)*<button', shown, re.DOTALL)


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=list(HOSTILE))
def test_hostile_texts_are_shown_as_text(client: TestClient, lake: Lake, number: int) -> None:
    uid = uid_of(lake, number)
    for path in (f"/rows/{KEY}/{uid}", f"/captions?key={KEY}&uid={uid}"):
        answer = client.get(path)
        assert answer.status_code == 200
        for sign in (
            "<script",
            "<img src=x",
            "onerror=alert(1)>",
            "<b>flag",
            "href=javascript",
            'href="javascript',
            "49 ",
        ):
            assert sign not in answer.text, (path, sign)
        assert len(answer.text) < 300_000, "a long text is cut"


def test_a_row_shows_its_texts_its_image_and_its_lineage(client: TestClient, lake: Lake) -> None:
    uid = uid_of(lake, 20)
    row = lake.arrow("captions", KEY, where=f"uid = '{uid}'").to_pylist()[0]
    shown = client.get(f"/rows/{KEY}/{uid}").text
    assert row["dense_caption"] in shown and "from the alt-text" in shown
    for table in ("pairs", "images", "captions"):
        slice_ = {"recipe": "kale", "stage": 1} if table == "captions" else None
        committed = lake.committed(table, KEY, slice_)
        assert committed and committed.fingerprint in shown
    picture = client.get(f"/images/{KEY}/{uid}?size=64")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize(
    "path",
    ["/rows/2026-11-01/xyz", "/rows/..%2f..%2fetc/00", "/keys/..%2fx", "/images/2026-11-01/../../catalog.db",
     "/captions?sort=uid;drop", "/captions?stage=3", "/captions?key=../x", f"/rows/{KEY}/{'0' * 32}", "/report/..%2fx",
     "/captions?key=2026-11-01&after=kale/1/'%20OR%201=1", f"/images/{KEY}/{'f' * 32}", "/keys/2031-01-01"],
)  # fmt: skip
def test_an_address_that_names_nothing_is_refused_in_words(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code in (404, 422) or ("No caption" in answer.text or answer.status_code == 200)
    assert "Traceback" not in answer.text and "catalog" not in answer.text


def test_pages_of_captions_have_every_row_once(client: TestClient, lake: Lake) -> None:
    seen, path = [], f"/captions?key={OTHER}"
    while path:
        shown = client.get(path).text
        seen += re.findall(r"/images/2026-11-02/([0-9a-f]{32})", shown)
        following = re.search(r'rel="next" href="([^"]+)"', shown)
        path = following[1].replace("&amp;", "&") if following else ""
    assert sorted(seen) == sorted(lake.arrow("captions", OTHER, ["uid"])["uid"].to_pylist())


def test_a_search_finds_the_rows_with_the_words_and_a_sort_puts_the_longest_first(
    client: TestClient, lake: Lake
) -> None:
    rows = lake.arrow("captions", OTHER, ["uid", "caption"]).to_pylist()
    wanted = {row["uid"] for row in rows if "lighthouse" in row["caption"].lower()}
    shown = client.get(f"/captions?key={OTHER}&q=LIGHTHOUSE").text
    assert wanted and set(re.findall(r"/images/2026-11-02/([0-9a-f]{32})", shown)) == wanted
    longest = max(rows, key=lambda row: len(row["caption"]))["uid"]
    first = re.search(r"/images/2026-11-02/([0-9a-f]{32})", client.get(f"/captions?key={OTHER}&sort=longest").text)
    assert first and first[1] == longest


@pytest.mark.parametrize("sort", ["invented", "unused", "flags", "confidence", "score", "longest", "shortest"])
def test_every_order_can_be_read(client: TestClient, sort: str) -> None:
    assert client.get(f"/captions?key={OTHER}&sort={sort}").status_code == 200


def test_a_search_by_host_takes_hosts_below_it_and_no_others(client: TestClient) -> None:
    shown = client.get(f"/captions?key={OTHER}&host=example.org").text
    assert len(re.findall("<article>", shown)) == 24
    assert "<article>" not in client.get(f"/captions?key={OTHER}&host=ample.org").text


def test_two_keys_are_compared_and_commits_lead_to_what_changed(client: TestClient, lake: Lake) -> None:
    shown = client.get(f"/keys/{OTHER}?other={KEY}").text
    assert f'<th class="n">{KEY}</th>' in shown and "landing rows" in shown
    commit(
        lake, World(OTHER, seed=7, pairs=60), "student", lambda rows: [{**rows[0], "caption": "Another."}, *rows[2:]]
    )
    shown = client.get(f"/keys/{OTHER}").text
    link = re.search(r'href="([^"]+)">Changes', shown)
    assert link
    changed = client.get(link[1].replace("&amp;", "&")).text
    assert "Captions of kale: 0 new, 1 gone, 1 changed" in changed


def test_a_lake_that_is_not_there_is_explained(tmp_path: Path) -> None:
    site = Site(lambda: {"KALE_WAREHOUSE": f"{tmp_path}/nowhere"}, Person())
    with TestClient(make_app(site)) as reader:
        answer = reader.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 404 and "kale init" in answer.text


def test_an_empty_lake_says_what_to_do(tmp_path: Path) -> None:
    made = open_world(tmp_path)
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person(*ALL)))) as reader:
        shown = {path: reader.get(path) for path in ("/", "/captions", "/votes", "/reports")}
    assert {answer.status_code for answer in shown.values()} == {200}
    assert "Nothing has landed yet" in shown["/"].text
    assert "There are no captions yet" in shown["/captions"].text


def test_a_missing_file_is_explained_and_other_pages_stay(lake: Lake, client: TestClient) -> None:
    path = lake.files("captions", KEY, {"recipe": "kale", "stage": 2})[0].path
    full = lake.storage.uri(path)
    os.rename(full, f"{full}.away")
    try:
        answer = client.get(f"/captions?key={KEY}&stage=2", headers={"Accept": "text/html"})
        assert answer.status_code in (409, 500) and "kale" in answer.text.lower() and "Traceback" not in answer.text
        assert client.get(f"/captions?key={OTHER}").status_code == 200
    finally:
        os.rename(f"{full}.away", full)


def test_the_overview_names_what_needs_a_person_and_what_runs(lake: Lake, person: Person, client: TestClient) -> None:
    person.running = [ActiveRun("stage2", "manual", "2026-11-09", "running")]
    commit(lake, World("2026-11-09", seed=7, pairs=60), "ingest")
    shown = client.get("/").text
    row = re.search(r'keys/2026-11-09".*?</tr>', shown, re.DOTALL)
    assert row and "60 rows" in row[0] and ">missing<" in row[0] and ">running<" in row[0]
    columns = re.findall(r'<th scope="col">([^<]+)', shown)
    assert "ingest" in columns and not [name for name in columns if name.startswith(("distill", "release"))]


def test_quality_shows_verdicts_what_was_taken_out_and_reports(lake: Lake, client: TestClient) -> None:
    uid = uid_of(lake, 5, key=OTHER)
    path = f"/rows/{OTHER}/{uid}"
    form = form_of(client.get(path).text, f"{path}/report")
    client.post(f"{path}/report", data={**form, "why": "<i>A person</i> is seen."})
    shown = client.get("/quality").text
    assert "&lt;i&gt;A person&lt;/i&gt; is seen." in shown and path in shown
    assert "images: http 404" in shown and "Fetch failed images of" in shown


def test_releases_are_listed_compared_and_shown_with_their_card(tmp_path: Path) -> None:
    made = open_world(tmp_path)
    versions = []
    for key in (KEY, OTHER):
        for step in STEPS:
            commit(made, World(key, seed=7, pairs=60), step)
        run = Run(Release(), made, made.settings, "all")
        execute(run)
        versions.append(release_name("all", run.fingerprint))
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person(*ALL)))) as client:
        listed = client.get("/releases").text
        assert [listed.index(version) for version in versions] == sorted(
            (listed.index(version) for version in versions), reverse=True
        ), "the latest first"
        shown = client.get(f"/releases/{versions[1]}?old={versions[0]}").text
        assert (
            f"{versions[1]} against {versions[0]}:" in shown
            and "0 out, 0 changed" in shown
            and "<h2>Card</h2>" in shown
        )
        assert client.get("/releases/all-00000000", headers=HTML).status_code == 404


def test_a_row_of_which_little_is_known_is_shown(tmp_path: Path) -> None:
    made, world = open_world(tmp_path), World(KEY, seed=7, pairs=30)
    bare = {
        "width": None,
        "height": None,
        "sha256": None,
        "url": None,
        "alt_text": None,
        "caption": None,
        "flags": None,
    }
    for step in STEPS:
        commit(made, world, step, lambda rows: [row | {n: None for n in bare if n in row} for row in rows])
    variables = {"KALE_WAREHOUSE": made.settings.warehouse, "KALE_LANDING": made.settings.landing}
    with TestClient(make_app(Site(lambda: variables, Person(*ALL)))) as client:
        uid = uid_of(made)
        for path in (
            f"/rows/{KEY}/{uid}",
            f"/captions?key={KEY}",
            f"/votes?key={KEY}",
            f"/captions?key={KEY}&q=x&host=y",
        ):
            assert client.get(path).status_code == 200, path
