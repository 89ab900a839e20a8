"""Repair of texts: it never raises, and leaves the alt-text itself unchanged."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kale_tasks.ingest.blocklists import read_lists
from kale_tasks.ingest.clean import CLEAN, RowCleaner
from kale_tasks.ingest.coerce import RAW, column
from kale_tasks.ingest.normalize import fold, repair
from kale_tasks.ingest.pieces import DataFile
from kale_tasks.ingest.rules import configured_rules
from kale_tasks.lake.landing import landing_storage
from kale_tasks.lake.tombstones import Matcher
from kale_tasks.urls import normal_url
from tests.ingest.world import ingest, kept, land, pair, settings_for

FILE = DataFile(0, "2026-11-01/a.parquet", "parquet", "", 0)


@pytest.fixture(scope="module")
def cleaner(tmp_path_factory: pytest.TempPathFactory) -> RowCleaner:
    chosen = settings_for(tmp_path_factory.mktemp("clean"))
    lists = read_lists(landing_storage(chosen), chosen.ingest.lists)
    return RowCleaner(chosen.ingest, lists, configured_rules(chosen.ingest, lists), Matcher(), "2026-11-01", parts=4)


def raw(**values: object) -> pa.RecordBatch:
    rows = len(next(iter(values.values())))  # type: ignore[arg-type]
    columns = {f.name: column(values.get(f.name), f.type, rows) for f in RAW}  # type: ignore[arg-type]
    return pa.RecordBatch.from_pydict(columns | {"row": pa.array(range(rows))}, RAW)


@pytest.mark.parametrize(
    ("written", "repaired"),
    [
        ("Caf&eacute; de Flore &amp;amp; co", "Café de Flore & co"),
        ("<b>Old</b> mill<br/>on the river", "Old mill on the river"),
        ("MÃ¼nchen im Schnee", "München im Schnee"),
        ("a\u200bb \u202etfel\u202c  c\x07", "ab tfel c"),
        ("  two \n lines\t", "two lines"),
        ("a < b and c > d", "a < b and c > d"),
    ],
)
def test_repair_removes_what_readers_do_not_see(written: str, repaired: str) -> None:
    assert repair(written) == repaired


def test_texts_that_read_alike_fold_alike() -> None:
    assert len({fold(t) for t in ("The Old Mill.", "the  old mill !", "THE OLD_MILL")}) == 1
    assert fold("The Old Mill 1901") != fold("The Old Mill 1902")


@given(st.text(max_size=300))
def test_repair_and_fold_accept_any_text(text: str) -> None:
    once = repair(text)
    fold(once)
    assert "\n" not in once and once == once.strip()


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "url": st.none() | st.binary(max_size=40) | st.just(b"https://a.example/x.jpg"),
                "alt_text": st.none()
                | st.binary(max_size=80)
                | st.text(max_size=80).map(lambda t: t.encode("utf-8", "ignore")),
                "uid": st.none() | st.binary(max_size=40) | st.just(b"0" * 32),
                "sha256": st.none() | st.binary(max_size=8),
                "width": st.none() | st.integers(-10, 10_000),
                "face_boxes": st.none() | st.just([[0.1, 0.2, 0.3, 0.4]]),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=40)
def test_cleaning_keeps_every_row_whatever_it_contains(cleaner: RowCleaner, rows: list[dict[str, object]]) -> None:
    batch = raw(**{name: [row[name] for row in rows] for name in rows[0]})
    clean = cleaner.clean(FILE, batch)
    assert clean.num_rows == len(rows) and clean.schema == CLEAN
    for row, found in zip(rows, clean.to_pylist(), strict=True):
        assert len(found["uid"]) == 32 and 0 <= found["part"] < 4
        if found["reason"] is None:
            assert found["alt_text"].encode() == (row["alt_text"] or b"")
        else:
            assert found["reason"] == "not_utf8"


@given(st.text(max_size=60))
def test_normal_url_accepts_any_text(url: str) -> None:
    for candidate in (url, f"http://{url}", f"https://a.example/{url}?{url}#{url}"):
        normal_url(candidate)


def test_copies_of_a_url_have_one_normal_form() -> None:
    same = [
        "http://www.A.example:80/p.jpg?a=1&utm_source=x#top",
        "https://a.example/p.jpg?a=1",
        "https://a.example:443/p.jpg?a=1",
    ]
    assert {normal_url(url) for url in same} == {("a.example", "a.example/p.jpg?a=1")} | {
        ("www.a.example", "a.example/p.jpg?a=1")
    }
    assert normal_url("https://a.example/p.jpg?a=2") != normal_url(same[1])
    assert [normal_url(url) for url in ("", "ftp://a.example/x", "javascript:alert(1)", "http://", "http://[::1")] == [
        None
    ] * 5


def test_the_alt_text_is_kept_byte_for_byte(tmp_path: Path) -> None:
    strange = "  Caf&eacute;\u00a0MÃ¼nchen \u200b <i>old</i> 🏰 e\u0301 \r\n harbour view "
    land(tmp_path / "landing", [pair(1, text=strange)])
    chosen = settings_for(tmp_path)
    ingest(chosen)
    (row,) = kept(chosen)
    assert row["alt_text"] == strange
    assert row["text"] == "Café München old 🏰 é harbour view"
