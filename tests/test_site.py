"""The documents build as a site without a warning, and its pages load nothing from outside."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"?(https?:[^\"\s>]+)[^>]*>", re.I)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_outside(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    outside = {(page.name, found) for page in pages for found in LOADED.findall(page.read_text("utf-8"))}
    assert len(pages) > 20
    assert not outside


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("reference/commands.html", "kale takedown"),
        ("reference/settings.html", "images.fetch.contact"),
        ("reference/recipes.html", "densefusion"),
        ("reference/reasons.html", "robots_disallowed"),
        ("index.html", "make demo"),
    ],
)
def test_the_reference_is_made_from_code(site: Path, page: str, text: str) -> None:
    assert text in (site / page).read_text("utf-8")
