"""The path of a user of Great Expectations: a suite file, the failing check on the page, its rows, Data Docs."""

import csv
import io
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kale_tasks.errors import BadData
from kale_tasks.quality.check import check_run
from kale_tasks.quality.data_docs import write_docs
from kale_tasks.quality.report import make_report
from kale_tasks.ui.app import make_app
from kale_tasks.ui.site import Site
from tests.quality.defects import stored
from tests.quality.test_suite_files import lake_of, write
from tests.quality.world import World, commit
from tests.ui.people import Person
from tests.ui.rendered import HTML, KEY

SHORT = {"type": "expect_column_value_lengths_to_be_between", "kwargs": {"column": "alt_text", "max_value": 10},
         "description": "Alt-texts are short"}  # fmt: skip


def test_a_suite_file_is_seen_on_the_page_with_its_rows_and_data_docs(tmp_path: Path) -> None:
    write(tmp_path, "pairs.json", SHORT)
    lake = lake_of(tmp_path)
    commit(lake, World(KEY, pairs=60), "ingest")
    with pytest.raises(BadData, match=r"Alt-texts are short: saw 60, wanted 0 \(house_rules: .*alt_text\)\)"):
        check_run(lake, lake.settings, "ingest", KEY)
    make_report(lake, lake.settings, KEY)
    known = {"KALE_WAREHOUSE": lake.settings.warehouse, "KALE_LANDING": lake.settings.landing}
    site = Site(lambda: {**known, "KALE_QUALITY__SUITES": lake.settings.quality.suites}, Person())
    with TestClient(make_app(site), raise_server_exceptions=False) as client:
        page = client.get(f"/report/{KEY}", headers=HTML)
        assert page.status_code == 200
        assert "Alt-texts are short: saw <strong>60</strong>, wanted 0." in page.text
        assert "suite house_rules" in page.text and "Nothing has changed since." in page.text
        link = f"/failing/ingest/{KEY}.csv"
        assert f'href="{link}"' in page.text and f'href="{link}"' in client.get("/quality").text
        answer = client.get(link)
        assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(rows) == 60 and {row["reason"] for row in rows} == {"Alt-texts are short"}
        assert {row["uid"] for row in rows} == {row["uid"] for row in World(KEY, pairs=60).pairs}
        commit(lake, World(KEY, pairs=59), "ingest")
        assert "changed since" in client.get("/reports").text
        assert "ingest: another run (60 rows then, 59 now)" in client.get(f"/report/{KEY}").text
        for bad in (
            "/failing/cook/2026-11-01.csv",
            "/failing/ingest/..%2f..%2fcatalog",
            "/failing/ingest/1999-01-01.csv",
        ):
            assert client.get(bad, headers=HTML).status_code in {404, 409}
    with pytest.raises(BadData):
        check_run(lake, lake.settings, "ingest", KEY)
    assert write_docs(lake.storage, stored(lake, "ingest", KEY), tmp_path / "site").read_text().count("house_rules")
