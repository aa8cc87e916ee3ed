"""A command line, its own ledger, and a workflow in a file."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from flowctx.cli import cli

SOURCE = """
import pathlib
from flowctx import PartitionScheme, StepResult, Workflow

prices = Workflow("prices", partitions=PartitionScheme(symbol=["AAPL", "IBM"]), params={"limit": 3}, extra_params=True)

@prices.step()
def fetch(ctx):
    return StepResult.ok({"rows": [1, 2, ctx.params["limit"]]}, context_updates={"cursor": 7})

@prices.step()
def check(ctx):
    if not pathlib.Path(__file__).with_name("mended").exists():
        return StepResult.fail("too bad", category="DATA_QUALITY")
    return {"sum": sum(ctx.get_output("fetch", "rows")), "cursor": ctx.params["cursor"]}

@prices.step()
def load(ctx):
    return {}
"""


class Shell:
    """Calls the command in this process; ``--json`` answers come back read."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "cli_flows.py"

    def __call__(self, *args, exit_code=0, **how):
        done = CliRunner().invoke(cli, list(args), prog_name="flowctx", catch_exceptions=False, **how)
        assert done.exit_code == exit_code, done.output
        return json.loads(done.stdout) if "--json" in args else done.output

    def mend(self):
        (self.folder / "mended").touch()


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    (tmp_path / "cli_flows.py").write_text(SOURCE)
    yield Shell(tmp_path)
    sys.modules.pop("cli_flows", None)
