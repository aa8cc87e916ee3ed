"""The W3C trace context's ``traceparent``, as engines hand it on."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?"
)


def trace_id_of(traceparent: object) -> str | None:
    """Return the trace id of a ``traceparent``, or ``None`` if it is none (https://www.w3.org/TR/trace-context/).

    Refused are version ``ff``, a trace or parent of zeros, capitals, and more than version ``00`` has; a version to
    come may have more after another ``-``.

    Example:
        >>> trace_id_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        '4bf92f3577b34da6a3ce929d0e0e4736'
        >>> trace_id_of("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01") is None
        True
    """
    match = _TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match["more"] is not None):
        return None
    trace = match["trace"]
    return trace if trace.strip("0") and match["parent"].strip("0") else None
