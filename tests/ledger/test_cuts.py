"""Connections that break, or are interrupted, at any statement: the run ends well, once, and the ledger goes on."""

from __future__ import annotations

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url

from cutting_proxy import CuttingProxy
from durable_flow import effects
from flowctx import Workflow, run
from flowctx.core.durability.records import RunStatus
from flowctx.ledger.sql import SqlLedger

short = Workflow("short")


def _declare(name):
    @short.step(name=name)
    def step(ctx):
        with open(ctx.params["effects"], "a", encoding="utf-8") as file:
            file.write(f"{name}\n")


for _name in "abc":
    _declare(_name)


@pytest.fixture
def proxy(postgres_url):
    proxy = CuttingProxy(postgres_url)
    yield proxy
    proxy.close()


def through(proxy, url):
    """Return the URL of a database as it is to be reached through the proxy."""
    parsed = make_url(url)
    parsed = parsed.set(host="127.0.0.1", port=proxy.port, query={})
    return parsed.render_as_string(hide_password=False)


@pytest.mark.parametrize("after", [False, True])
def test_a_run_survives_a_cut_at_any_statement(proxy, postgres_url, tmp_path, after):
    """Cut before or after the server has a statement, each in turn: the run is ok, nothing is doubled."""
    ledger = SqlLedger(through(proxy, postgres_url))
    run(short, run_id="first", params={"effects": str(tmp_path / "first")}, ledger=ledger)
    number, cuts = 0, 0
    while True:
        number += 1
        file = tmp_path / f"{after}-{number}"
        proxy.cut_at(number, after=after)
        result = run(short, run_id=f"r{number}", params={"effects": str(file)}, ledger=ledger)
        found = ledger.get_run(f"r{number}")
        assert (result.status, found.status, found.attempt) == ("ok", RunStatus.OK, 1), number
        assert (effects(file), list(ledger.statuses(found.key))) == (["a", "b", "c"], ["a", "b", "c"])
        if not proxy.cut:
            break
        cuts += 1
    assert cuts > 10
    ledger.close()


@pytest.mark.parametrize("when", ["before_cursor_execute", "after_cursor_execute"])
def test_a_ledger_goes_on_after_ctrl_c_at_any_call(sql_url, tmp_path, when):
    """Ctrl-C in the middle of any statement ends that run; every later call on the same ledger is answered."""
    ledger = SqlLedger(sql_url)
    left = [0]

    def interrupt(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    ledger.list_runs()
    event.listen(Engine, when, interrupt)
    interrupted = 0
    try:
        for number in range(1, 100):
            left[0] = number
            file = tmp_path / f"{number}"
            try:
                run(short, run_id=f"r{number}", params={"effects": str(file)}, ledger=ledger)
            except KeyboardInterrupt:
                interrupted += 1
            if left[0] > 0:
                break
            left[0] = 0
            assert run(short, params={"effects": str(tmp_path / "next")}, ledger=ledger).status == "ok"
    finally:
        event.remove(Engine, when, interrupt)
    assert interrupted > 10
    ledger.close()
