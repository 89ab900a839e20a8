"""Checks on the texts of a pass that asks a model, whatever it asks: candidates, regions, answers as data."""

from typing import ClassVar

from kale_tasks.quality.suite import Limit, Subject, Suite
from kale_tasks.resources import sql


class AnswersSuite(Suite):
    """Checks on answers. What they say is judged with the captions that are made of them."""

    columns = ("uid", "item", "n", "text", "data")
    inputs = ("images",)
    one_each: ClassVar[bool] = False

    def queries(self) -> list[str]:
        return [sql("checks/answers")]

    def failing(self) -> list[str]:
        return [sql("failing/answers")]

    def limits(self, subject: Subject) -> list[Limit]:
        return [
            Limit("quarantined_share", "critical", "Few rows failed", high=subject.limit.quarantined_max),
            Limit("repeated", "critical", "A row has one text of each item and number", 0, 0),
            Limit("blank", "critical", "No text is empty", 0, 0),
        ]
