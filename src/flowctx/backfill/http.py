"""JSON over HTTP, patiently; with the standard library, so that batches can be launched where no engine is."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from flowctx.core.errors import EngineError, EngineUnavailable

#: How long one call may take, and how long a server that was there may be away.
_TIMEOUT_SECONDS, _PATIENCE_SECONDS = 60, 60.0


class Answer(NamedTuple):
    """What a server answered."""

    #: The HTTP status.
    status: int
    #: The decoded JSON object, or a text if it was none.
    data: Any

    @property
    def detail(self) -> str:
        """The server's own words, in a line."""
        detail = self.data.get("detail", self.data) if isinstance(self.data, Mapping) else self.data
        if isinstance(detail, list):  # FastAPI's account of a request that does not validate
            detail = "; ".join(
                str(item.get("msg", item)) if isinstance(item, Mapping) else str(item) for item in detail
            )
        return " ".join(str(detail).split())[:500]


class Patience:
    """Waits before another try, for longer each time and for a minute in all."""

    def __init__(self) -> None:
        self._end, self._pause = time.monotonic() + _PATIENCE_SECONDS, 0.5

    @property
    def lasts(self) -> bool:
        """Whether it is not over yet."""
        return time.monotonic() < self._end

    def wait(self) -> bool:
        """Wait before another try; return whether there is one: false, at once, where it would be too late."""
        if time.monotonic() + self._pause > self._end:
            return False
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 8.0)
        return True


class JsonClient:
    """Calls one server.

    Args:
        url: Where it is.
        name: What it is, for messages.
        setting: What to set if the URL is wrong, for messages.
        headers: Makes the headers of a call; told whether the last ones were refused.

    Raises:
        EngineError: It is no URL.
    """

    def __init__(
        self, url: str, *, name: str, setting: str, headers: Callable[[bool], Mapping[str, str]] = lambda refused: {}
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise EngineError(f"{url!r} is no URL of {name}; write http://host:port (--url or {setting})")
        self.url, self.name = url.rstrip("/"), name
        self._setting, self._headers = setting, headers
        self._opener = build_opener(_StayHere)
        self._was_there = False

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        repeat: bool = True,
        signed: bool = True,
    ) -> Answer:
        """Make a call and return what was answered, whatever the status; 401 only after the headers were renewed.

        A server that ever answered, an error of its own included, is given a minute, if the call may be repeated.
        An error that GraphQL tells is returned after that.

        Raises:
            EngineUnavailable: It cannot be reached, or for too long there are only errors of its own or what is no
                JSON object, such as the log-in page of something before it.
        """
        patience, refused = Patience(), False
        while True:
            try:
                headers = self._headers(refused) if signed else {}
                answer = self._once(method, path, query, body, headers)
            except EngineUnavailable:  # of the call that signs this one, and all that there is to say
                raise
            except (URLError, OSError, http.client.HTTPException) as exc:
                why = " ".join(str(getattr(exc, "reason", exc)).split()) or type(exc).__name__
            else:
                if answer.status == http.HTTPStatus.UNAUTHORIZED and signed and not refused:
                    refused = True
                    continue
                self._was_there |= isinstance(answer.data, Mapping)
                if _is_its_own(answer):
                    return answer
                if _is_told_in_graphql(answer):
                    if repeat and patience.wait():
                        continue
                    return answer
                why = f"{answer.status}: {answer.detail[:200]}"
            if not (self._was_there and repeat and patience.wait()):
                raise EngineUnavailable(
                    f"{self.name} at {self.url} cannot be reached ({why}); is it up, and is the URL right "
                    f"(--url or {self._setting})?"
                )

    def _once(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Any, headers: Mapping[str, str]
    ) -> Answer:
        url = f"{self.url}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        known = {"Accept": "application/json", "Content-Type": "application/json", **headers}
        request = Request(url, data, known, method=method)  # noqa: S310 - http or https: see __init__
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as response:
                return Answer(response.status, _decoded(response.read()))
        except HTTPError as error:
            with error:
                if "Location" in error.headers:
                    return Answer(error.code, f"it sends us to {error.headers['Location']}")
                return Answer(error.code, _decoded(error.read()))


class _StayHere(HTTPRedirectHandler):
    """Goes nowhere else: there a POST would become a GET, and the token would go along."""

    def redirect_request(self, *args: Any) -> None:
        return None


_TOO_MANY = http.HTTPStatus.TOO_MANY_REQUESTS


def _is_its_own(answer: Answer) -> bool:
    """Whether it is the server's answer to the call, and not one of something before it, or of its bad moments."""
    in_order = answer.status < http.HTTPStatus.INTERNAL_SERVER_ERROR and answer.status != _TOO_MANY
    return in_order and isinstance(answer.data, Mapping)


def _is_told_in_graphql(answer: Answer) -> bool:
    """Whether it says in GraphQL what went wrong, for which the status is 500; the next time it may not."""
    return isinstance(answer.data, Mapping) and "data" in answer.data


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data) if data else None
    except ValueError:
        return data.decode(errors="replace")
