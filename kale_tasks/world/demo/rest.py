"""The few words of Airflow's REST API that a demonstration needs."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from kale_tasks.errors import KaleError

_SECONDS = 60
_TRIES = 5
_PAUSE_SECONDS = 1
_SERVER_ERROR = 500


class _Busy(KaleError):
    """The server could not, this time: on SQLite one writer waits for another."""


class Rest:
    """Airflow's REST API, as one user."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url, self._user, self._password = url, user, password
        self._token = ""

    @property
    def healthy(self) -> bool:
        """Whether every component reports itself as well."""
        try:
            said = self._send("GET", "/api/v2/monitor/health", None, {})
        except (OSError, ValueError):
            return False
        wanted = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all(said[name]["status"] == "healthy" for name in wanted)

    def get(self, path: str) -> Any:
        """What stands at a path of /api/v2."""
        return self.send("GET", path)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for something; a busy server is asked again unless that could do it twice."""
        for _ in range(0 if method == "POST" else _TRIES - 1):
            try:
                return self._try(method, path, body)
            except (OSError, _Busy):
                time.sleep(_PAUSE_SECONDS)
        return self._try(method, path, body)

    def _try(self, method: str, path: str, body: Any) -> Any:
        if not self._token:
            login = {"username": self._user, "password": self._password}
            self._token = self._send("POST", "/auth/token", login, {})["access_token"]
        try:
            return self._send(method, f"/api/v2{path}", body, {"Authorization": f"Bearer {self._token}"})
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            kind = _Busy if error.code >= _SERVER_ERROR else KaleError
            raise kind(f"Airflow answered {error.code} to {method} {path}: {said}") from error

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text else None
