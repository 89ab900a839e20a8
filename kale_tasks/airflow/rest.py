"""A small client of Airflow's REST API."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from kale_tasks.errors import KaleError

_TIMEOUT_SECONDS = 60
_TRIES = 5
_PAUSE_SECONDS = 1
_SERVER_ERROR = 500
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class _ServerError(KaleError):
    """A 5xx response. On SQLite a writer that waits for another one gets it, so the request is worth a retry."""


class AirflowRest:
    """Airflow's REST API, called as one user."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url, self._user, self._password = url, user, password
        self._token = ""

    @property
    def healthy(self) -> bool:
        """Whether the server answers and reports every component as healthy."""
        try:
            health = self._send("GET", "/api/v2/monitor/health", None, {})
        except (OSError, ValueError):
            return False
        return all(health[name]["status"] == "healthy" for name in _COMPONENTS)

    def get(self, path: str) -> Any:
        """Return the JSON at a path below /api/v2."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to a path below /api/v2 and return the JSON of the response.

        Connection and server errors are retried, except for POST, which might take effect twice. Raises KaleError with
        the text of the response when Airflow refuses the request.
        """
        for _ in range(0 if method == "POST" else _TRIES - 1):
            try:
                return self._authorized(method, path, body)
            except (OSError, _ServerError):
                time.sleep(_PAUSE_SECONDS)
        return self._authorized(method, path, body)

    def _authorized(self, method: str, path: str, body: Any) -> Any:
        if not self._token:
            login = {"username": self._user, "password": self._password}
            self._token = self._send("POST", "/auth/token", login, {})["access_token"]
        try:
            return self._send(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:500]
            kind = _ServerError if error.code >= _SERVER_ERROR else KaleError
            raise kind(f"Airflow returned {error.code} for {method} {path}: {text}") from error

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            text = response.read()
        return json.loads(text) if text else None
