"""The REST API v2 of an Airflow: it logs in, renews its token, and says what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowctx.backfill.http import Answer, JsonClient
from flowctx.backfill.polling import PAGE
from flowctx.core.errors import EngineError


class AirflowApi:
    """Calls one Airflow.

    Args:
        url: Where the API server is.
        token: A token of its auth manager.
        user: A user that can log in, where there is no token.
        password: The user's password.

    Raises:
        EngineError: It is no URL.
    """

    def __init__(
        self, url: str, *, token: str | None = None, user: str | None = None, password: str | None = None
    ) -> None:
        self._token, self._user, self._password = token, user, password
        self._logs_in = token is None or user is not None
        self.client = JsonClient(url, name="Airflow", setting="FLOWCTX_AIRFLOW_URL", headers=self._headers)

    def _headers(self, refused: bool) -> Mapping[str, str]:
        if self._token is None or (refused and self._logs_in):
            self._token = self._log_in()
        return {"Authorization": f"Bearer {self._token}"}

    def _log_in(self) -> str:
        if self._user is None:  # an Airflow whose simple auth manager takes everybody for an admin
            answer = self.client.call("GET", "/auth/token", signed=False)
        else:
            body = {"username": self._user, "password": self._password}
            answer = self.client.call("POST", "/auth/token", body=body, signed=False)
        if "access_token" not in answer.data:
            how = (
                "FLOWCTX_AIRFLOW_USER and FLOWCTX_AIRFLOW_PASSWORD are right"
                if self._user
                else "FLOWCTX_AIRFLOW_TOKEN is set"
            )
            raise EngineError(
                f"Airflow at {self.client.url} does not log us in ({answer.status}: {answer.detail}); see that {how}"
            )
        return str(answer.data["access_token"])

    def call(self, method: str, path: str, **how: Any) -> Answer:
        """Make a call and return what was answered; see :meth:`~flowctx.backfill.http.JsonClient.call`.

        Raises:
            EngineError: The token is refused, or the call is not allowed.
        """
        answer = self.client.call(method, f"/api/v2{path}", **how)
        if answer.status == 401 or (answer.status == 403 and "JWT" in answer.detail):
            raise EngineError(
                f"Airflow at {self.client.url} refuses the token ({answer.detail}); it may have expired: set "
                "FLOWCTX_AIRFLOW_TOKEN anew, or FLOWCTX_AIRFLOW_USER and FLOWCTX_AIRFLOW_PASSWORD"
            )
        if answer.status == 403:
            raise EngineError(f"Airflow at {self.client.url} does not allow {method} {path}: {answer.detail}")
        return answer

    def get(self, path: str, **query: Any) -> Any:
        """Return what Airflow has there.

        Raises:
            EngineError: It has nothing there, or does not say.
        """
        answer = self.call("GET", path, query=query)
        if answer.status != 200:
            raise EngineError(f"Airflow at {self.client.url} answers {answer.status} to GET {path}: {answer.detail}")
        return answer.data

    def pages(self, path: str, field: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield what a list has; Airflow may be configured to return less of it at a time than it is asked for."""
        offset, total = 0, 1
        while offset < total:
            answer = self.get(path, limit=PAGE, offset=offset, **query)
            yield from answer[field]
            offset += len(answer[field])
            total = answer.get("total_entries") or 0 if answer[field] else 0
