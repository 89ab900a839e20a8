"""Rights, audit log and Dag runs of Airflow. Whoever may read the report Dag may read the pages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN, ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from fastapi import Depends, Request
from sqlalchemy import select

from kale_tasks.errors import BadConfig
from kale_tasks.settings import load
from kale_tasks.ui.access import RIGHTS, Access, ActiveRun, Approval

_SHOWN = 50


class AirflowAccess(Access):
    """Asks the auth manager of Airflow, whichever it is."""

    def __init__(self) -> None:
        self._prefix = load().settings.schedule.prefix

    @property
    def dependencies(self) -> Sequence[Any]:
        """What FastAPI checks before every route."""
        return [Depends(_remember), Depends(requires_access_dag("GET", param_dag_id=self._dag("quality_report")))]

    def name(self, request: Request) -> str:
        """The name of the user."""
        return str(request.state.kale_user.get_name())

    def may(self, request: Request, action: str) -> bool:
        """Whether the user may start the Dag that does the same."""
        return _may(request, "POST", self._dag(RIGHTS[action]))

    def credential(self, request: Request) -> str | None:
        """The cookie of the session; a token in a header is never sent by a page of another site."""
        if request.headers.get("authorization"):
            return None
        return request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")

    def record(self, request: Request, event: str, details: Mapping[str, Any]) -> None:
        """Add a line to Airflow's audit log."""
        user = request.state.kale_user
        with create_session() as session:
            line = Log(f"kale.{event}", owner=user.get_name(), owner_display_name=user.get_name())
            line.extra = json.dumps(details, ensure_ascii=False)
            session.add(line)

    def start(self, request: Request, dag: str, key: str, conf: Mapping[str, Any]) -> str:
        """Start a Dag run for a key in the name of the user."""
        run = trigger_dag(
            self._dag(dag),
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=self.name(request),
            conf=dict(conf),
            partition_key=key or None,
        )
        if run is None:
            raise BadConfig(f"Airflow did not start {self._dag(dag)}. Look at its page there.")
        return str(run.run_id)

    def active(self) -> Sequence[ActiveRun]:
        """The runs of our Dags that are queued or running."""
        wanted = select(DagRun).where(
            DagRun.dag_id.startswith(f"{self._prefix}_"), DagRun.state.in_(("queued", "running"))
        )
        with create_session() as session:
            return [self._active(run) for run in session.scalars(wanted.limit(1000))]

    def key_of_run(self, request: Request, dag_id: str, run_id: str) -> str | None:
        """The key of a Dag run, if it exists and the user may see it."""
        if not _may(request, "GET", dag_id):
            return None
        wanted = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        with create_session() as session:
            run = session.scalar(wanted)
            return None if run is None else _key(run)

    def approvals(self) -> Sequence[Approval]:
        """The answers to questions of the release Dag."""
        wanted = (
            select(HITLDetail, TaskInstance)
            .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
            .where(TaskInstance.dag_id == self._dag("release"))
            .order_by(HITLDetail.responded_at.desc())
            .limit(_SHOWN)
        )
        with create_session() as session:
            return [_approval(detail, task) for detail, task in session.execute(wanted)]

    def _dag(self, name: str) -> str:
        return f"{self._prefix}_{name}"

    def _active(self, run: DagRun) -> ActiveRun:
        return ActiveRun(run.dag_id.removeprefix(f"{self._prefix}_"), run.run_id, _key(run), str(run.state))


async def _remember(request: Request, user: GetUserDep) -> None:
    request.state.kale_user = user


def _may(request: Request, method: ResourceMethod, dag: str) -> bool:
    details = DagDetails(id=dag, team_name=DagModel.get_team_name(dag))
    user, manager = request.state.kale_user, get_auth_manager()
    return bool(manager.is_authorized_dag(method=method, access_entity=DagAccessEntity.RUN, details=details, user=user))


def _key(run: DagRun) -> str:
    day = f"{run.logical_date:%Y-%m-%d}" if run.logical_date else ""
    return str(run.partition_key or (run.conf or {}).get("key") or day)


def _approval(detail: HITLDetail, task: TaskInstance) -> Approval:
    by = (detail.responded_by or {}).get("name") or ""
    at = f"{detail.responded_at:%Y-%m-%d %H:%M}" if detail.responded_at else ""
    answer = ", ".join(detail.chosen_options or ()) or "waits for an answer"
    asked = (detail.params or {}).get("release") or ""  # of the form; the answer brings it back
    release = (detail.params_input or {}).get("release") or (asked.get("value") if isinstance(asked, dict) else asked)
    return Approval(str(release or ""), task.run_id, answer, by, at)
