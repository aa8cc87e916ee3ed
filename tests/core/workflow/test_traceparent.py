"""The vectors of the W3C's own test suite for ``traceparent``."""

from __future__ import annotations

import pytest

from flowctx.core.workflow.traceparent import trace_id_of

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"


@pytest.mark.parametrize(
    "text",
    [
        f"00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-00",
        f"00-{TRACE}-{PARENT}-ff",
        f"cc-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like",
        f"01-{TRACE}-{PARENT}-01-",
    ],
)
def test_a_valid_traceparent_has_its_trace_id(text):
    """Versions to come may have more; the flags may be any."""
    assert trace_id_of(text) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-0000000000000000-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-what-the-future-will-be-like",
        f"00-{TRACE}-{PARENT}-01.",
        f"cc-{TRACE}-{PARENT}-01.what-the-future-will-not-be-like",
        f"00-{TRACE}-{PARENT}-.0",
        f"00-{TRACE}-{PARENT}-0.",
        f"00-{TRACE}-{PARENT}-001",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}",
        f".0-{TRACE}-{PARENT}-01",
        f"000-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE[:-1]}.-{PARENT}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT[:-1]}.-01",
        f"00-{TRACE}-{PARENT}0-01",
        f"00-{TRACE}-{PARENT[:-1]}-01",
        f"00-{'A' * 32}-{PARENT}-01",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        "",
        None,
        7,
    ],
)
def test_an_invalid_traceparent_has_none(text):
    """Whatever the W3C's suite refuses gives no trace id, so that the run's own is derived."""
    assert trace_id_of(text) is None
