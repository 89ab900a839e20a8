"""Files appear whole or not at all; a pointer has one winner."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from kale_tasks.lake.tables import Lake
from kale_tasks.settings import Settings

Opened = tuple[Lake, Settings]


def test_a_put_file_reads_back_in_ranges(lake: Opened) -> None:
    storage = lake[0].storage
    storage.put("a/b/c.bin", bytes(range(200)))
    assert storage.read("a/b/c.bin", 10, 5) == bytes(range(10, 15))
    assert storage.read("a/b/c.bin", 190) == bytes(range(190, 200))
    assert [e.path for e in storage.entries("a")] == ["a/b/c.bin"]
    with pytest.raises(FileNotFoundError):
        storage.read("a/none")
    storage.delete("a/b/c.bin")
    storage.delete("a/b/c.bin")
    assert not storage.exists("a/b/c.bin")


def test_of_16_writers_of_one_pointer_one_wins(lake: Opened) -> None:
    storage = lake[0].storage
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda i: storage.put_if("pointer", f"{i}".encode(), None), range(16)))
    assert won.count(True) == 1
    assert storage.read("pointer") == str(won.index(True)).encode()


def test_a_pointer_is_swapped_only_from_what_was_seen(lake: Opened) -> None:
    storage = lake[0].storage
    storage.put("pointer", b"one")
    seen = storage.tag("pointer")
    assert storage.put_if("pointer", b"two", seen)
    assert not storage.put_if("pointer", b"three", seen)
    assert storage.read("pointer") == b"two"
