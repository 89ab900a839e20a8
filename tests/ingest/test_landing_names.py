"""Landing files that could mislead: tables beside tars, links that lead nowhere, quotes that are not closed."""

from pathlib import Path

from tests.ingest.test_sources import _tar, account, land_bytes
from tests.ingest.world import KEY, ingest, kept, land, land_lines, pair, settings_for


def test_only_the_table_of_the_same_folder_and_name_hides_a_tar(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    land_lines(landing, [pair(1)], name="one/00000")
    land_lines(landing, [pair(2)], name="shard.00000")
    for name, number in (("two/00000", 3), ("shard.00001", 4), ("one/00000", 5)):
        land_bytes(tmp_path, f"{name}.tar", _tar([pair(number)]))
    settings = settings_for(tmp_path)
    ingest(settings)
    assert {int(row["url"].rpartition("/")[2][:-4]) for row in kept(settings)} == {1, 2, 3, 4, 900}


def test_links_that_lead_nowhere_or_to_themselves_stop_nothing(tmp_path: Path) -> None:
    land(tmp_path / "landing", [pair(1)])
    (tmp_path / "landing" / KEY / "loop.parquet").symlink_to("loop.parquet")
    (tmp_path / "landing" / KEY / "gone.parquet").symlink_to("nowhere.parquet")
    assert account(tmp_path)[:2] == (1, 1)


def test_a_quote_that_is_not_closed_does_not_swallow_the_file(tmp_path: Path) -> None:
    lines = "".join(f"https://a.example/{n}.jpg,A view of the harbour of town {n}\n" for n in range(2000))
    land_bytes(tmp_path, "a.csv", f'url,text\nhttps://a.example/x.jpg,"Not closed\n{lines}'.encode())
    assert account(tmp_path) == (2, 1, {"broken_file": 1})
