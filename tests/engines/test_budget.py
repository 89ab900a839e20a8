"""A budget stops the work of all tasks of an engine, keeps what was paid for, and lets it go on later."""

import signal
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from kale_tasks.engines import budget as module
from kale_tasks.engines.budget import Budget
from kale_tasks.errors import Paused
from kale_tasks.lake.storage.folder import FolderStorage
from tests.captions.conftest import Opener
from tests.captions.test_step import CAPTION, rows
from tests.captions.world import give, pairs, run_step
from tests.engines.server import completion, serving
from tests.lakes import settings_of

ROOT = Path(__file__).parents[2]


def opened_budget(folder: Path, *sets: str, run: str = "run") -> Budget:
    return Budget(FolderStorage(folder), settings_of(["caption.engine=openai", *sets]).caption, run)


def test_a_spent_budget_stops_between_parts_and_nothing_is_asked_twice(opened: Opener) -> None:
    given = [pair for pair in pairs(150) if pair.split == "stage1"]
    with serving(reply=lambda body: completion(CAPTION)) as server:
        lake, settings = opened("caption.budget.run.requests=30", server=server)
        give(lake, settings, given)
        for _ in range(2):  # a second try is stopped at once
            with pytest.raises(Paused, match=r"caption\.budget\.run\.requests \(\d+ of 30 requests\) are spent"):
                run_step("dense", lake, settings)
        asked = server.asked.total()
        assert 30 <= asked <= 30 + 2 * settings.parts.part_rows < len(given)
        lake, settings = opened("caption.budget.run.requests=1000", server=server)
        run_step("dense", lake, settings)
        assert server.asked.total() == len(rows(lake, "texts")) == len(given)


def test_the_tasks_of_a_day_share_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_SECONDS", 0.0)
    monkeypatch.setattr(module, "_today", lambda: date(2026, 11, 1))
    limit = ("caption.budget.day.dollars=3", "caption.token_price_out=2")
    one, other = (opened_budget(tmp_path, *limit, run=name) for name in ("a", "b"))
    one.spend(tokens_in=10, tokens_out=1_000_000)
    assert one.allows_more and other.allows_more
    other.spend(tokens_out=500_000)
    assert not other.allows_more and not one.allows_more
    with pytest.raises(Paused, match=r"dollars \(3 of 3 dollars\) are spent.* after 2026-11-02 00:00 UTC") as stopped:
        one.require_more()
    assert stopped.value.resumes_at == datetime(2026, 11, 2, tzinfo=UTC)
    one.close()
    other.close()
    assert not opened_budget(tmp_path, *limit, run="c").allows_more  # a later task finds it spent
    assert opened_budget(tmp_path, *limit, "caption.engine=vllm").allows_more  # another engine has its own
    monkeypatch.setattr(module, "_today", lambda: date(2026, 11, 2))
    one.require_more()


@pytest.mark.parametrize(
    ("limit", "spent"),
    [("tokens=9", {"tokens_in": 5, "tokens_out": 4}), ("device_hours=0.5", {"device_seconds": 1800.0})],
)
def test_tokens_and_device_hours_have_limits(tmp_path: Path, limit: str, spent: dict[str, float]) -> None:
    budget = opened_budget(tmp_path, f"caption.budget.run.{limit}", "caption.device_hour_price=2")
    assert budget.allows_more
    budget.spend(**spent)  # type: ignore[arg-type]
    assert not budget.allows_more
    assert budget.dollars == spent.get("device_seconds", 0) / 1800


def test_without_limits_nothing_is_written(tmp_path: Path) -> None:
    budget = opened_budget(tmp_path)
    budget.spend(requests=10**9)
    assert budget.allows_more
    budget.close()
    assert not list(tmp_path.iterdir())


def test_a_torn_file_of_another_task_is_named_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_READ_SECONDS", 0.0)
    limit = "caption.budget.run.requests=10"
    one, other = (opened_budget(tmp_path, limit) for _ in range(2))
    other.spend(requests=6)
    assert one.allows_more
    (file,) = (path for path in (tmp_path / "budgets/runs/run").iterdir() if b'"requests": 6' in path.read_bytes())
    for damage in (b'{"requests": ', b"", b"[]", b'{"requests": "many"}', b"\xff\xfe"):
        file.write_bytes(damage)
        assert one.allows_more
        assert opened_budget(tmp_path, limit).allows_more
        assert f"{file.name} is damaged" in caplog.text and "Delete the file" in caplog.text
        caplog.clear()
    one.spend(requests=4)
    assert not one.allows_more  # what was read before it was damaged still counts


def test_a_killed_task_has_written_what_it_spent(tmp_path: Path) -> None:
    code = f"""
        import os, signal
        from pathlib import Path
        from tests.engines.test_budget import opened_budget
        budget = opened_budget(Path({str(tmp_path)!r}), "caption.budget.run.requests=1000")
        assert budget.allows_more
        for _ in range(995):
            budget.spend(requests=1)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    later = opened_budget(tmp_path, "caption.budget.run.requests=1000")
    assert later.allows_more
    later.spend(requests=1000 - 995 + 10)  # of the last hundredth of the limit, ten may be missing
    assert not later.allows_more
