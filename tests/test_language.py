"""The project's texts: plain words, files that can be read in one sitting, lines that fit a screen.

Each limit is what is left to improve: lower it when you have improved something, never raise it.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OLD_VOICE = re.compile(
    r"(?<![a-z])(stands?|standing|anew|told|wish(es)?|fates?|whom|so[ _]many|the[ _]like|shall|answers[ _]with)"
    r"(?![a-z])",
    re.I,
)
OLD_VOICE_IN_CODE_AND_DOCS = 8  # captions of the sample world that use such a word
OLD_VOICE_IN_TESTS = 10  # texts that tests caption, clean or compare
LONG_DOCS_LINES = 0  # tables are exempt, their rows cannot be wrapped
LONG_FILES = 0
MAX_FILE_LINES = 300
MAX_DOCS_LINE = 120
RECORDED = "docs/first-hour.md"  # what commands printed, captions of the sample world among it
TEXT = {".py", ".md", ".yaml", ".yml", ".sql", ".toml", ".sh", ".j2", ""}


def test_code_and_docs_use_plain_words() -> None:
    found = [line for line in _old_voice() if not line.startswith("tests/")]
    assert len(found) <= OLD_VOICE_IN_CODE_AND_DOCS, _listing(found)


def test_tests_use_plain_words() -> None:
    found = [line for line in _old_voice() if line.startswith("tests/")]
    assert len(found) <= OLD_VOICE_IN_TESTS, _listing(found)


def test_files_are_short() -> None:
    counts = {path: len(path.read_text("utf-8").splitlines()) for path in _files() if path.suffix == ".py"}
    found = [f"{_name(path)}: {count} lines" for path, count in counts.items() if count > MAX_FILE_LINES]
    assert len(found) <= LONG_FILES, _listing(found)


def test_lines_of_docs_are_short() -> None:
    found = [
        f"{_name(path)}:{number}: {len(line)} characters"
        for path in _files()
        if path.suffix == ".md"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > MAX_DOCS_LINE and not line.lstrip().startswith("|")
    ]
    assert len(found) <= LONG_DOCS_LINES, _listing(found)


def _old_voice() -> Iterator[str]:
    for path in _files():
        if path == Path(__file__) or _name(path) == RECORDED:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if OLD_VOICE.search(line):
                yield f"{_name(path)}:{number}: {line.strip()}"


def _files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    return [path for path in paths if path.suffix in TEXT and path.is_file() and path.name != "LICENSE"]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _listing(found: list[str]) -> str:
    return "\n".join([f"{len(found)}:", *found])
