"""Describes the provider to Airflow: its connection type, operators and links."""

from typing import Any

_HERE = "kale_tasks.airflow"
_INTEGRATION = "KALE"
_OPERATORS = ("command_operator", "operators", "flow_operators", "questions")


def get_provider_info() -> dict[str, Any]:
    """Return the description. Every Airflow process imports this module, so it must stay light."""
    return {
        "package-name": "kale-tasks",
        "name": _INTEGRATION,
        "description": "Knowledge-augmented captions for web images.",
        "integrations": [{"integration-name": _INTEGRATION, "tags": ["service"]}],
        "operators": [{"integration-name": _INTEGRATION, "python-modules": [f"{_HERE}.{name}" for name in _OPERATORS]}],
        "sensors": [{"integration-name": _INTEGRATION, "python-modules": [f"{_HERE}.sensor"]}],
        "triggers": [{"integration-name": _INTEGRATION, "python-modules": [f"{_HERE}.sensor"]}],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": [f"{_HERE}.hook"]}],
        "extra-links": [f"{_HERE}.command_operator.ReportLink", f"{_HERE}.command_operator.LineageLink"],
        "connection-types": [
            {
                "connection-type": "kale",
                "hook-class-name": f"{_HERE}.hook.KaleHook",
                "hook-name": _INTEGRATION,
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "port", "schema", "login", "password", "extra"],
                    "relabeling": {},
                    "placeholders": {},
                },
                "conn-fields": {
                    "warehouse": _field("Warehouse", "Folder or s3:// prefix of the lake."),
                    "landing": _field("Landing", "Folder or s3:// prefix that holds <key>/* landing files."),
                    "catalog": _field("Catalog", "Iceberg catalog, such as postgresql+psycopg2://…", secret=True),
                    "s3_endpoint": _field("S3 endpoint", "URL of an S3-compatible store; empty for AWS."),
                    "s3_region": _field("S3 region", "Region of the bucket."),
                    "s3_access_key_id": _field("S3 access key id", "Empty: from the AWS environment."),
                    "s3_secret_access_key": _field(
                        "S3 secret access key", "Empty: from the AWS environment.", secret=True
                    ),
                    "hub_token": _field("Hub token", "Token that may write to the Hub repositories.", secret=True),
                },
            }
        ],
    }


def _field(label: str, description: str, secret: bool = False) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": ["string", "null"], **({"format": "password"} if secret else {})}
    return {"label": label, "description": description, "schema": schema}
