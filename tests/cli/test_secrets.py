"""A secret that a user has planted anywhere is in nothing that is printed, logged or written for others to see."""

from __future__ import annotations

import stat
import sys

import pytest

from flowctx.backfill import Backfill
from flowctx.ledger.sql import SqlLedger

SECRET = "hunter2correcthorse"
SOURCE = """
from flowctx import PartitionScheme, Workflow

flow = Workflow(
    "spy", partitions=PartitionScheme(tier=["T1", "T2"]), params={"db_password": "", "dsn_text": "", "note": ""}
)

@flow.step(config={"api_token": "CONFIG-SECRET-1"})
def connect(ctx, config):
    password = ctx.params["db_password"]
    raise ValueError(f"log-in of {password} at postgresql://me:{password}@db/x?sslpassword={password} refused with "
                     + config["api_token"] + "\\x1b]0;own\\x07\\x9b2J\\ud800 <!--<script>")
"""


@pytest.fixture
def spy(shell):
    (shell.folder / "spy_flows.py").write_text(SOURCE)
    yield shell
    sys.modules.pop("spy_flows", None)


def holds_none(text):
    """Return whether a text holds neither secret, nor anything that acts on a terminal."""
    return (
        SECRET not in text and "CONFIG-SECRET-1" not in text and not any(char in text for char in "\x1b\x07\x9b\ud800")
    )


def test_a_secret_is_shown_nowhere(spy, caplog):
    """Parameters, configurations and URLs in errors and tracebacks: not in any command's output, page or log."""
    target, key = "spy_flows:flow", "tier=T1"
    given = ("-p", f"db_password={SECRET}", "--batch", "b")
    printed = [spy("run", target, "--partition", key, "--run-id", "r1", *given, exit_code=1)]
    printed.append(spy("-v", "backfill", target, "-p", f"db_password={SECRET}", "--batch", "b2", exit_code=1))
    printed += [spy(*command) for command in (
        ("show", "r1"), ("show", "r1", "--traceback"), ("runs",), ("status", "b"), ("status", "b2"), ("batches",),
        ("status", "b2", "--html", "page.html"), ("status", "b2", "--workflow", target),
    )]  # fmt: skip
    printed += [str(spy(*command, "--json")) for command in (("show", "r1"), ("runs",), ("status", "b2"), ("batches",))]
    printed.append(spy("verify", target, "--url", f"http://me:{SECRET}@host:8080", exit_code=2))
    printed.append(spy("--debug", "run", target, "--partition", key, "--run-id", "r1", *given, exit_code=2))
    page = spy.folder / "page.html"
    for text in (*printed, page.read_text("utf-8"), caplog.text):
        assert holds_none(text), text
    assert "<!--<script>" not in page.read_text("utf-8")


def test_what_is_written_is_the_owners_alone(spy, tmp_path):
    """The ledger's file and the page can be read by nobody else."""
    spy("run", "spy_flows:flow", "--partition", "tier=T1", "--batch", "b", exit_code=1)
    spy("status", "b", "--html", "page.html")
    for file in (tmp_path / "ledger.db", spy.folder / "page.html"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_row_runs_no_code(spy, tmp_path):
    """A file that a batch's or run's row names is not executed by commands that look, nor by those that run."""
    evil, proof = tmp_path / "evil.py", tmp_path / "proof"
    evil.write_text(f"open({str(proof)!r}, 'w')")
    spy("run", "spy_flows:flow", "--partition", "tier=T1", "--run-id", "r1", "--batch", "b", exit_code=1)
    ledger = SqlLedger(f"sqlite:///{tmp_path / 'ledger.db'}")
    import spy_flows

    ledger.batches.put(Backfill(spy_flows.flow, None, "b", ledger=ledger).record())
    ledger._database.transaction(
        lambda at: [
            at.exec_driver_sql(f"UPDATE {table} SET target = ?", (f"{evil}:flow",))
            for table in ("flowctx_run", "flowctx_batch")
        ]
    )
    ledger.close()
    for command in (
        ("status", "b"),
        ("batches",),
        ("runs",),
        ("show", "r1"),
        ("status", "b", "--html", "p.html"),
        ("cancel", "b"),
    ):
        spy(*command)
    for command in (("resume", "r1"), ("replay", "r1", "connect")):
        assert "is not run on its word; pass it" in spy(*command, exit_code=2)
    assert not proof.exists()
