"""The ``flowctx`` command: parses, wires and prints. Here alone, everything meets everything."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import click

from flowctx.cli.batches import backfill, batches, cancel, status
from flowctx.cli.inspecting import captures, runs, show
from flowctx.cli.ledgers import ledger
from flowctx.cli.running import replay, resume, run
from flowctx.core.errors import FlowctxError


class _Group(click.Group):
    """A group whose errors are one line that says what to do; ``--debug`` shows the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except FlowctxError as exc:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(str(exc)) from exc
        except Exception as exc:
            if ctx.params.get("debug"):
                raise
            text = " ".join(str(exc).split())
            raise click.ClickException(f"{type(exc).__name__}: {text} (flowctx --debug shows where)") from exc


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flowctx")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", is_flag=True, help="Log each step to standard error.")
def cli(debug: bool, verbose: bool) -> None:  # _Group reads it
    """Run workflows here, see what ran anywhere, and go on where it stopped.

    \b
    Exit codes: 0 all is well, 1 a run failed or something else went wrong, 2 the command was wrong.
    """  # noqa: D301 - \b is for click
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    # `flowctx run flows:prices` means the flows.py in this folder, as `python -m` would.
    sys.path.insert(0, os.getcwd())


for command in (backfill, batches, cancel, captures, ledger, replay, resume, run, runs, show, status):
    cli.add_command(command)


def main() -> None:
    """Run the command; the entry point of the ``flowctx`` script."""
    cli()
