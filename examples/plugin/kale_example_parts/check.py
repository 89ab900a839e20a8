"""A check of ingested rows: alt-texts name enough years, or there is little knowledge to carry over."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kale_tasks.quality.suite import Limit, Suite


class KnowledgeSuite(Suite):
    """Warns when few alt-texts have a year."""

    steps = ("ingest",)
    columns = ("text",)

    def features(self, rows: pa.Table) -> Mapping[str, Any]:
        """Return one derived column: whether a text has a year."""
        return {"has_year": pc.match_substring_regex(rows["text"], pattern=r"\b1[0-9]{3}\b|\b20[0-9]{2}\b")}

    def queries(self) -> Sequence[str]:
        """Return the query of one figure."""
        return ["select avg(case when has_year then 1e0 else 0e0 end) as year_share from batch"]

    def limits(self, subject: Any) -> Sequence[Limit]:
        """Return the bound of that figure."""
        return [Limit("year_share", "warning", "Some alt-texts name a year", low=0.01)]
