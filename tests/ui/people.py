"""People who open pages without an Airflow around them: what they may do, and what was asked of Airflow."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from kale_tasks.ui.access import Access, ActiveRun, Approval


class Person(Access):
    """A person with these rights, who is logged in by a cookie."""

    def __init__(self, *rights: str) -> None:
        self.rights = rights
        self.recorded: list[tuple[str, dict[str, Any]]] = []
        self.started: list[tuple[str, str, dict[str, Any]]] = []
        self.running: list[ActiveRun] = []

    @property
    def dependencies(self) -> Sequence[Any]:
        return []

    def name(self, request: Request) -> str:
        return "ada"

    def may(self, request: Request, action: str) -> bool:
        return action in self.rights

    def credential(self, request: Request) -> str | None:
        return None if request.headers.get("authorization") else "the session"

    def record(self, request: Request, event: str, details: Mapping[str, Any]) -> None:
        self.recorded.append((event, dict(details)))

    def start(self, request: Request, dag: str, key: str, conf: Mapping[str, Any]) -> str:
        self.started.append((dag, key, dict(conf)))
        return f"manual of {dag}"

    def active(self) -> Sequence[ActiveRun]:
        return self.running

    def key_of_run(self, request: Request, dag_id: str, run_id: str) -> str | None:
        return None

    def approvals(self) -> Sequence[Approval]:
        return []
