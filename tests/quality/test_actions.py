"""Actions of Great Expectations are run after a check: real HTTP and SMTP servers receive what they send."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kale_tasks.errors import BadConfig
from kale_tasks.lake.tables import Lake
from kale_tasks.quality import actions
from kale_tasks.quality.check import check_run, examine
from kale_tasks.quality.suite import Subject
from tests.quality.defects import each, failed, stored
from tests.quality.test_suite_files import CANARY
from tests.quality.world import World, commit, open_world

SLACK = {"type": "slack", "slack_webhook": "${HOOK}", "notify_on": "failure"}
WEBHOOK = {"type": "webhook", "url": "${HOOK}", "notify_on": "all"}


@contextmanager
def hook(status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server that remembers what was posted to it."""
    posted: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret", posted
        server.shutdown()


@contextmanager
def mailbox() -> Iterator[tuple[int, list[str]]]:
    """An SMTP server that remembers the mails it was sent."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], mails
        server.shutdown()


def lake_with(tmp_path: Path, *given: Any) -> Lake:
    return open_world(tmp_path, **{"quality.actions": json.dumps(list(given))})


def test_slack_and_a_webhook_are_sent_every_failed_check_and_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook() as (url, posted):
        monkeypatch.setenv("HOOK", url)
        lake = lake_with(tmp_path, SLACK, WEBHOOK)
        commit(lake, World("k"), "ingest", each(text=CANARY))
        failed(lake, "ingest", "k")
    slack, webhook = posted
    text = json.dumps(slack)
    assert "Failure" in text and "pairs k" in text and actions.FIGURES in text
    assert webhook["success"] is False and "No alt-text is repeated too often: saw 300" in webhook["text"]
    assert "canary" not in text + json.dumps(webhook)


def test_a_check_that_passes_is_sent_where_all_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as (url, posted):
        monkeypatch.setenv("HOOK", url)
        lake = lake_with(tmp_path, SLACK, WEBHOOK, {**WEBHOOK, "notify_on": "critical"})
        commit(lake, World("k"), "ingest")
        check_run(lake, lake.settings, "ingest", "k")
        examine(Subject.of_committed(lake, lake.settings, "ingest", "k"))  # stores nothing, sends nothing
    assert [one["success"] for one in posted] == [True]


def test_a_mail_is_sent(tmp_path: Path) -> None:
    with mailbox() as (port, mails):
        mail = {
            "type": "email",
            "smtp_address": "127.0.0.1",
            "smtp_port": str(port),
            "receiver_emails": "a@example.org",
        }
        lake = lake_with(tmp_path, {**mail, "sender_alias": "kale@example.org", "notify_on": "failure"})
        commit(lake, World("k"), "ingest", each(url="file:///x"))
        failed(lake, "ingest", "k")
    (sent,) = mails
    assert "Subject: pairs k: False" in sent and "To: a@example.org" in sent


@pytest.mark.parametrize("given", [SLACK, WEBHOOK])
@pytest.mark.parametrize("status", [500, 0])
def test_an_action_that_fails_changes_no_verdict_and_shows_no_secret(
    given: Any, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with hook(status) as (url, _):
        monkeypatch.setenv("HOOK", url if status else "http://127.0.0.1:9/secret")
        lake = lake_with(tmp_path, given)
        commit(lake, World("k"), "ingest", each(url="file:///x"))
        assert failed(lake, "ingest", "k").failed == ["url_form"]
    assert f"The action '{given['type']}' of quality.actions failed" in caplog.text
    assert "secret" not in caplog.text


def test_an_action_that_hangs_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(actions, "_SECONDS", 0.2)
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:  # accepts nothing
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{silent.server_address[1]}/")
        lake = lake_with(tmp_path, SLACK)
        commit(lake, World("k"), "ingest", each(url="file:///x"))
        failed(lake, "ingest", "k")
    assert "no end after 0 s" in caplog.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"type": "pigeon"}, "pigeon is no action. Known types: .*slack.*webhook"),
        (
            {"type": "slack", "slack_webhook": "https://hooks.example.org/T0/B0"},
            "put slack_webhook into an environment",
        ),
        ({"type": "slack", "slack_webhook": "${NOT_SET}"}, "needs the environment variable NOT_SET"),
        ({"type": "email", "smtp_address": "mail"}, "cannot be used. Look at: .*smtp_port"),
        ({"type": "webhook", "url": "http://x", "colour": 1}, "cannot be used. Look at: colour"),
    ],
)
def test_an_action_that_cannot_be_used_is_said_before_anything_is_checked(
    given: Any, says: str, tmp_path: Path
) -> None:
    lake = lake_with(tmp_path, given)
    commit(lake, World("k", pairs=20), "ingest")
    with pytest.raises(BadConfig, match=says) as error:
        check_run(lake, lake.settings, "ingest", "k")
    assert "hooks.example.org" not in str(error.value)
    assert not list(lake.storage.entries("verdicts"))


def test_the_verdict_is_stored_whatever_the_actions_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/")
    lake = lake_with(tmp_path, WEBHOOK)
    commit(lake, World("k"), "ingest")
    check_run(lake, lake.settings, "ingest", "k")
    assert stored(lake, "ingest", "k").status == "passed"
