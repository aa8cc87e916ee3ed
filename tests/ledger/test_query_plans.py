"""All that is asked of a ledger is found by the indexes that the documentation shows."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from documentation.pages import PAGES
from flowctx.ledger.tables import runs
from postgres import postgres_database
from query_plans import all_plans, page, plans, scanned, small_ledger


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory, postgres_server):
    file = tmp_path_factory.mktemp("plans") / "ledger.db"
    with postgres_database(postgres_server) as url:
        found = {"SQLite": small_ledger(f"sqlite:///{file}"), "PostgreSQL": small_ledger(url)}
        yield found
        for ledger in found.values():
            ledger.close()


@pytest.fixture(scope="module")
def found(ledgers):
    return all_plans(ledgers)


def test_no_large_table_is_read_from_end_to_end(found):
    """What every step, batch and command asks is found by an index, however many runs there are."""
    for title, by_database in found.items():
        for kind, explained in by_database.items():
            assert explained, (title, kind)
            for statement, plan in explained:
                assert scanned(plan) == set(), (title, kind, statement, plan)


def test_a_table_that_is_read_from_end_to_end_is_seen(ledgers):
    """Where there is no index for what is looked for, the plan says so."""
    for ledger in ledgers.values():
        ((_, plan),) = plans(ledger, lambda there: there._database.rows(select(runs).where(runs.c.error == "none")))
        assert scanned(plan) == {"flowctx_run"}


def test_the_documentation_shows_the_indexes(found):
    """``query-plans.md`` has the indexes that both databases use now; tests/query_plans.py prints it."""
    assert page(found) == PAGES["docs/query-plans.md"].read_text("utf-8")
