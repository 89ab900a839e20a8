"""The `kale` connection: place and credentials of the lake, as environment variables of a command."""

import json
import os
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from kale_tasks.errors import KaleError

DEFAULT_CONNECTION = "kale_default"
# The settings read values as YAML; quoted as JSON, an access key of digits stays text.
_VARIABLES = {
    "warehouse": "KALE_WAREHOUSE",
    "landing": "KALE_LANDING",
    "catalog": "KALE_CATALOG",
    "s3_endpoint": "KALE_S3__ENDPOINT",
    "s3_region": "KALE_S3__REGION",
    "s3_access_key_id": "KALE_S3__ACCESS_KEY_ID",
    "s3_secret_access_key": "KALE_S3__SECRET_ACCESS_KEY",
}


class KaleHook(BaseHook):
    """Reads a `kale` connection. Without one, the environment of the Airflow process is used."""

    conn_name_attr = "kale_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "kale"
    hook_name = "KALE"

    def __init__(self, kale_conn_id: str = DEFAULT_CONNECTION) -> None:
        super().__init__()
        self.kale_conn_id = kale_conn_id

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the connection; none if it does not exist."""
        try:
            connection = self.get_connection(self.kale_conn_id)
        except AirflowNotFoundException:
            return {}
        return variables(connection.extra_dejson)

    def test_connection(self) -> tuple[bool, str]:
        """Open the lake. Called by the test button of the connection form."""
        from kale_tasks.lake.tables import Lake
        from kale_tasks.settings import load

        try:
            settings = load(environ={**os.environ, **self.environment()}).settings
            keys = Lake(settings, create=False).keys("pairs")
        except KaleError as error:
            return False, str(error)
        return True, f"Opened {settings.warehouse}: {len(keys)} keys have pairs."


def variables(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables for the fields that are filled in."""
    found = {_VARIABLES[name]: json.dumps(value) for name, value in fields.items() if name in _VARIABLES and value}
    return found | ({"HF_TOKEN": fields["hub_token"]} if fields.get("hub_token") else {})
