"""The person who approves releases, and waiting for a chain that needs approvals."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kale_tasks.airflow.rest import AirflowRest
from kale_tasks.world.demo.chain import Chain
from tests.services.server import wait_until

_RUNS = "/dags/kale_release/dagRuns"
# The scheduler learns with a delay that a task waits for input. An earlier answer is lost, and it asks again.
_READING = timedelta(seconds=5)
PAUSE = 4.0  # seconds between two questions to Airflow's server, for which each is work


class Person:
    """Answers, through the REST API, what Airflow shows as required actions."""

    def __init__(self, rest: AirflowRest) -> None:
        self._rest = rest

    def waiting(self) -> list[dict[str, Any]]:
        """List the questions that have been waiting for an answer long enough to be read."""
        found = self._questions(answered=False)
        parked = [question for question in found if question["task_instance"]["state"] == "awaiting_input"]
        return [question for question in parked if datetime.now(UTC) - _at(question["created_at"]) > _READING]

    def answered(self) -> list[dict[str, Any]]:
        """List the questions that were answered."""
        return self._questions(answered=True)

    def wait(self) -> dict[str, Any]:
        """Wait until there is a question, and return it."""
        wait_until(lambda: bool(self.waiting()), "a question", 240, pause=PAUSE)
        (question,) = self.waiting()
        return question

    def say(self, word: str) -> None:
        """Give the same answer to all waiting questions."""
        for question in self.waiting():
            run = question["task_instance"]["dag_run_id"]
            path = f"{_RUNS}/{run}/taskInstances/approve/-1/hitlDetails"
            fields = {name: field["value"] for name, field in question["params"].items()}
            self._rest.send("PATCH", path, {"chosen_options": [word], "params_input": fields})

    def _questions(self, answered: bool) -> list[dict[str, Any]]:
        path = f"{_RUNS}/~/hitlDetails?response_received={str(answered).lower()}&order_by=created_at"
        found: list[dict[str, Any]] = self._rest.get(path)["hitl_details"]
        return found


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def finish(chain: Chain, person: Person) -> None:
    """Wait until nothing is left to run, and approve every release."""
    quiet = 0

    def ended() -> bool:
        nonlocal quiet
        cells = chain.cells()
        person.say("Approve")  # a release that waits for an answer may be hidden behind queued ones
        quiet = quiet + 1 if chain.finished(cells) else 0
        return quiet >= 2  # an announcement starts a run within a second or two

    wait_until(ended, "the chain to end", 900, pause=PAUSE)
