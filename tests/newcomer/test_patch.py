"""The change that CONTRIBUTING.md leads a newcomer through still fits: it adds a rule where the steps say."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATCH = Path(__file__).with_name("rule.patch")


def test_the_change_applies_or_has_been_made() -> None:
    tried = [
        subprocess.run(
            ["git", "apply", "--check", *how, str(PATCH)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        for how in ([], ["--reverse"])  # who follows the steps runs the tests before and after
    ]
    assert any(done.returncode == 0 for done in tried), tried[0].stderr


def test_the_steps_name_the_files_of_the_change() -> None:
    steps = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## A first change")[2].partition("\n## ")[0]
    changed = set(re.findall(r"^\+\+\+ b/(\S+)$", PATCH.read_text("utf-8"), re.M))
    assert changed and all(f"`{path}`" in steps for path in changed)
