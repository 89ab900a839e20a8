"""Who may see and change what through the pages, and where actions are recorded."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

# An action needs the right to start the Dag that does the same, named without the prefix of the deployment.
RIGHTS: Mapping[str, str] = {
    "review": "quality_report",
    "report": "quality_report",
    "takedown": "takedown",
    "models": "distill",
    "ingest": "ingest",
    "images": "images",
    "captions": "stage1",
    "student": "stage2",
    "release": "release",
    "canary": "canary",
}


@dataclass(frozen=True)
class ActiveRun:
    """A Dag run that is queued or running; `dag` is named without the prefix."""

    dag: str
    run: str
    key: str
    state: str


@dataclass(frozen=True)
class Approval:
    """The answer of a person to the question whether to publish a release."""

    release: str
    run: str
    answer: str
    by: str
    at: str


class Access(ABC):
    """Rights of the person behind a request."""

    @property
    @abstractmethod
    def dependencies(self) -> Sequence[Any]:
        """What FastAPI checks before every route; raises HTTPException if the person may not read the pages."""

    @abstractmethod
    def name(self, request: Request) -> str:
        """The name of the person."""

    @abstractmethod
    def may(self, request: Request, action: str) -> bool:
        """Whether the person may do one of `RIGHTS`."""

    @abstractmethod
    def credential(self, request: Request) -> str | None:
        """The secret that a browser sends by itself with each request; None if this request did not rely on it."""

    @abstractmethod
    def record(self, request: Request, event: str, details: Mapping[str, Any]) -> None:
        """Add a line about an action to the audit log."""

    @abstractmethod
    def start(self, request: Request, dag: str, key: str, conf: Mapping[str, Any]) -> str:
        """Start a Dag, named without the prefix, and return the name of its run."""

    @abstractmethod
    def active(self) -> Sequence[ActiveRun]:
        """The Dag runs that are queued or running."""

    @abstractmethod
    def key_of_run(self, request: Request, dag_id: str, run_id: str) -> str | None:
        """The key of a Dag run, empty if it has none; None if there is no such run, or the person may not see it."""

    @abstractmethod
    def approvals(self) -> Sequence[Approval]:
        """The answers of people to the questions about releases, the latest first."""
