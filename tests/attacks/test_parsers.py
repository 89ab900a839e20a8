"""Whatever the bytes, names and settings are: a parser gives a value or an error of ours, and no path leads outside.

`HOSTILE_INPUTS` is the number of inputs for each parser; `make nightly` asks for many.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kale_tasks.errors import BadData, KaleError
from kale_tasks.images.adopt import _metadata
from kale_tasks.images.opt_out import parse_robots, parse_tdmrep
from kale_tasks.imaging import image_type
from kale_tasks.lake.keys import check_key
from kale_tasks.lake.records import json_lines, json_values, table, tar
from kale_tasks.lake.storage.folder import FolderStorage
from kale_tasks.quality.suite_files import read_suites
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings.load import load
from kale_tasks.urls import normal_url
from tests.lakes import settings_of

INPUTS = int(os.environ.get("HOSTILE_INPUTS", "60"))
many = settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck))
DEEP = 100_000
# Fragments that mean something to one of the parsers; random bytes alone get no further than their first branch.
_BITS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\\u",
        b"null",
        b"1e999",
        b"-",
        b"\xff",
        b"\xfe\xff",
        b"\x00",
        b"\n",
        b"\r",
    ),
    *(b'{"url": "a", "text": "b"}\n', b"url\ttext\n", b'"""', b"User-agent: *\n", b"Disallow: /*$\n", b"PAR1", b"../"),
    *(
        b"Crawl-delay: 9e9\n",
        b"ustar\x0000",
        b"\xed\xa0\x80",
        b"&a",
        b"*a",
        b"!!python/object",
        b"<<: ",
        b"? ",
        b"|\n ",
    ),
]
hostile = st.one_of(st.binary(max_size=400), st.lists(st.sampled_from(_BITS), max_size=60).map(b"".join))
PARSERS: dict[str, Callable[[bytes], Any]] = {
    "JSON lines": lambda data: list(json_lines(io.BytesIO(data))),
    "JSON": lambda data: list(json_values(io.BytesIO(data))),
    "CSV": lambda data: list(table(",")(io.BytesIO(data))),
    "TSV": lambda data: list(table("\t")(io.BytesIO(data))),
    "tar": lambda data: list(tar(io.BytesIO(data), "a.tar")),
    "JSON beside a picture": _metadata,
    "robots.txt": lambda data: parse_robots(data.decode("utf-8", "replace")),
    "tdmrep.json": lambda data: parse_tdmrep(data.decode("utf-8", "replace")),
    "URL": lambda data: normal_url(data.decode("utf-8", "replace")),
    "type of an image": image_type,
}
# What the readers of landing files raise for a file that is broken: its rows are quarantined.
BROKEN = (KaleError, ValueError, tarfile.TarError, EOFError, OSError)


@pytest.mark.parametrize("name", PARSERS)
@given(data=hostile)
@many
def test_a_parser_ends_with_a_value_or_an_error_that_is_known(name: str, data: bytes) -> None:
    try:
        PARSERS[name](data)
    except Exception as error:
        assert isinstance(error, BROKEN) or type(error).__module__ in ("_csv", "csv"), repr(error)


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize("bit", [b"[", b'{"a":', b"[[],"])
def test_depth_is_no_crash(name: str, bit: bytes) -> None:
    try:
        PARSERS[name](bit * DEEP)
    except Exception as error:
        assert isinstance(error, BROKEN) and not isinstance(error, RecursionError), repr(error)


YAML = {
    "an object": "!!python/object/apply:os.system ['touch {mark}']",
    "an object in a list": "passes: [!!python/object/new:subprocess.Popen [[touch, '{mark}']]]",
    "a module": "about: !!python/module:antigravity",
    "a name": "about: !!python/name:os.system",
    "billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
    "an alias to itself": "a: &a [*a]",
    "a merge of itself": "a: &a\n  <<: *a\n",
    "depth": "[" * 20_000,
    "depth of blocks": "\n".join(" " * n + "a:" for n in range(2_000)),
    "a large number": "limit: " + "9" * 10_000,
    "control characters": "about: \x00\x1b[31m",
    "a key twice": "about: a\nabout: b\n",
    "a list for a name": "[1, 2]: 3",
    "no text": "\ufffe\uffff",
}


@pytest.mark.parametrize("what", YAML)
@pytest.mark.parametrize("where", ["recipe", "profile", "set"])
def test_malicious_yaml_is_an_error_and_runs_nothing(what: str, where: str, tmp_path: Path) -> None:
    text = YAML[what].replace("{mark}", str(tmp_path / "mark"))
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    reads: dict[str, Callable[[], Any]] = {
        "recipe": lambda: load_recipe(str(path)),
        "profile": lambda: load([f"profile={path}"], environ={}),
        "set": lambda: load([f"landing={text}"], environ={}),
    }
    try:
        reads[where]()
    except KaleError as error:
        assert len(str(error)) < 2_000 and "\x1b" not in str(error)
    assert not (tmp_path / "mark").exists()


@given(data=hostile)
@many
def test_any_file_as_a_recipe_is_an_error_of_ours(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_bytes(data)
    with pytest.raises(KaleError):
        load_recipe(str(path))


SUITES = ["[" * DEEP, "null", '{"expectations": [[]]}', '{"expectations": [{"type": "../../x"}]}', "\ud800"]


@pytest.mark.parametrize("text", [*SUITES, '{"name": "../../up", "expectations": [{"type": "x"}]}'])
def test_a_malicious_suite_is_an_error_of_ours(text: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(KaleError):
        read_suites(settings_of([f"quality.suites={tmp_path}", f"warehouse={tmp_path / 'lake'}"]), "pairs", [])


PATHS = [
    "../x",
    "..",
    ".",
    "/etc/passwd",
    "a/../../x",
    "a\x00b",
    "~root",
    "C:\\x",
    "%2e%2e/x",
    "a" * 300,
    "-rf",
    "\n",
    "",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_no_key(path: str) -> None:
    with pytest.raises(KaleError):
        check_key(path)


@given(key=st.text(max_size=80))
@many
def test_a_key_that_is_taken_is_one_plain_folder(key: str) -> None:
    try:
        taken = check_key(key)
    except KaleError:
        return
    assert taken == key and Path(key).name == key and key not in (".", "..") and key.isascii()


@pytest.mark.parametrize("name", [*PATHS, "a/b.jpg", "b.json/../../c.json", "./../x.txt"])
def test_members_of_a_tar_are_rows_and_never_files(name: str, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        for member, kind in (
            (f"{name}.json", tarfile.REGTYPE),
            (name, tarfile.SYMTYPE),
            (f"{name}.txt", tarfile.LNKTYPE),
        ):
            info = tarfile.TarInfo(member.replace("\x00", ""))
            info.type, info.linkname, content = kind, "/etc/passwd", json.dumps({"url": "u", "uid": name}).encode()
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            made.addfile(info, io.BytesIO(content))
    before = set(tmp_path.rglob("*"))
    rows = list(tar(io.BytesIO(archive.getvalue()), "a.tar"))
    assert rows and all("root:" not in str(row) for row in rows)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", ["../x", "a/../../x", "{root}/x"])
def test_nothing_is_written_outside_of_a_lake(path: str, tmp_path: Path) -> None:
    storage, outside = FolderStorage(tmp_path / "lake"), path.format(root=tmp_path)
    storage.put("inside", b"x")
    writes = [lambda: storage.put(outside, b"x"), lambda: storage.put_if(outside, b"x", None)]
    for write in [*writes, lambda: storage.delete(outside), lambda: storage.copy("inside", outside)]:
        with pytest.raises(BadData, match="leads out of"):
            write()
    assert [one.name for one in tmp_path.iterdir()] == ["lake"]


def test_columns_with_names_of_paths_and_queries_stop_nothing(tmp_path: Path) -> None:
    names = ["url", "text", "../../x", "a'; DROP TABLE pairs; --", '"', "\u202ekey", "url\x00", "__class__"]
    file = tmp_path / "landing" / "2026-11-01" / "pairs.parquet"
    file.parent.mkdir(parents=True)
    columns = {name: [f"https://a.example/{n}.jpg" for n in range(5)] for name in names}
    columns["text"] = [f"A red kite over harbour number {n}" for n in range(5)]
    pq.write_table(pa.table(columns), file)
    from tests.kale import kale

    sets = [f"landing={tmp_path / 'landing'}", f"warehouse={tmp_path / 'lake'}", "ingest.lists.evaluation=null"]
    assert kale("init", sets=sets).code == 0
    answer = kale("run", "ingest", "--key", "2026-11-01", "--json", sets=sets)
    assert answer.code == 0, answer.err
    assert not (tmp_path / "x").exists()
