"""What a step hands on comes back from the JSON columns of databases as it was, the order of keys included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings

from flowctx import PayloadError, StepResult
from flowctx.airflow.json_columns import for_column, from_column
from flowctx.core.data.plain import freeze
from flowctx.core.execution.envelope import Envelope
from flowctx.core.execution.upstream import Upstream
from postgres import postgres_database, postgres_server
from strategies import plain_data, plain_dicts, same


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    """A database in which XComs are kept as Airflow keeps them in PostgreSQL."""
    with postgres_server() as server, postgres_database(server) as url, psycopg.connect(url) as connection:
        yield connection


def through(connection: psycopg.Connection, payload: Any) -> Any:
    """Return a payload as it comes back from a ``jsonb`` column."""
    row = connection.execute("SELECT %s::jsonb::text", [json.dumps(payload)]).fetchone()
    assert row is not None
    return json.loads(row[0])


def envelope_of(output: dict[str, Any], **updates: Any) -> Envelope:
    return Upstream().envelope("load", StepResult.ok(output, context_updates=updates))


def comes_back(connection: psycopg.Connection, envelope: Envelope) -> None:
    payload = for_column(envelope.to_payload())
    found = Envelope.from_payload(from_column(through(connection, payload)))
    assert found._replace(updates={}) == envelope._replace(updates={})
    assert [(u.by, u.over) for u in found.updates.values()] == [(u.by, u.over) for u in envelope.updates.values()]
    assert same(found.output, envelope.output)
    assert same({key: update.value for key, update in found.updates.items()}, envelope.own_updates)


@settings(deadline=None, max_examples=150)
@given(plain_dicts(), plain_data())
def test_any_output_comes_back(connection: psycopg.Connection, output: dict[str, Any], update: Any) -> None:
    """Values, types and the order of keys, however deep, in outputs and in parameters."""
    comes_back(connection, envelope_of(freeze(output), cursor=update))


@pytest.mark.parametrize(
    "output",
    [
        {"symbol": "IBM", "close": 1.5, "adjusted": 2},
        {"rows": [{"symbol": "IBM", "close": 1.0}, {"symbol": "AAPL", "close": 2.0}]},
        {"rows": [{"b": 1, "a": 2}, {"a": 1, "b": 2}, {"b": {"z": 1, "y": 2}, "a": [{"y": 1, "z": 2}]}]},
        {"floats": [1e22, -1e16, -0.0, 1e308, 5e-324, 1e15, 0.1, float("nan")], "integers": [10**22, 2**63 - 1]},
        {"$a": 1, "$": {"__b": 1, "a": 2}},
    ],
)
def test_what_columns_lose_comes_back(connection: psycopg.Connection, output: dict[str, Any]) -> None:
    """Keys in an order of their own, equal keys in two orders, floats that look like integers."""
    comes_back(connection, envelope_of(output, **output))


def test_an_order_costs_little() -> None:
    """Keys are written once for all rows that have them, and not at all where they are sorted already."""
    rows = [{"symbol": f"S{number}", "close": number / 7} for number in range(500)]
    plain = {"output": {"rows": rows}}
    assert len(json.dumps(for_column(plain))) - len(json.dumps(plain)) < 60
    assert "order" not in for_column({"output": {"a": 1, "b": [{"c": 1, "dd": 2}]}})
    reference = {"$table": {"size": 1, "path": "x", "rows": 2}}
    assert "order" not in for_column({"output": {"table": reference}})


@pytest.mark.parametrize(
    "order",
    [7, {}, {"keys": 3}, {"keys": [["a"]]}, {"keys": [["a", "c"]]}, {"keys": [["a", "a"]], "places": [0]},
     *({"keys": [["a", "b"]], "places": places} for places in ([], [3], "x", 5))],
)  # fmt: skip
def test_a_damaged_order_is_told(order: Any) -> None:
    """An order that does not fit the keys is an error that says what to do, and never another output."""
    with pytest.raises(PayloadError, match="run that step again"):
        from_column({"output": {"a": 1, "b": 2}, "order": order})
