"""The ``flowctx`` command: parses, wires and prints. Here alone, everything meets everything."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import traceback
import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import click

from flowctx.backfill.worker_process import start_early
from flowctx.cli.options import LEDGER, CommandError, check_values
from flowctx.cli.output import echo, shown
from flowctx.cli.signals import ended_by_signals
from flowctx.cli.standard_output import ENDS_WITH_IT, failed_to_print, fill_closed, showing_all, unwritable
from flowctx.cli.typed_ledger import with_ledger
from flowctx.core.errors import (
    CalendarError,
    ContextError,
    FlowctxError,
    MissingExtra,
    NoLedger,
    NotDue,
    PartitionError,
    PlainDataError,
    RunExists,
    UnknownBatch,
    UnknownRun,
    UnsupportedEngine,
    VersionGone,
    WorkflowError,
    ending_text,
)
from flowctx.core.interrupts import raise_again
from flowctx.core.own_warnings import without_source

#: What was asked for cannot be, and trying again will not help.
_WRONG = (
    CalendarError,
    ContextError,
    MissingExtra,
    NoLedger,
    PartitionError,
    PlainDataError,
    RunExists,
    UnknownBatch,
    UnknownRun,
    UnsupportedEngine,
    VersionGone,
    WorkflowError,
)
#: Each command, in the order of their use, and the module that has it: nothing is imported for the others.
_MODULES = {
    "run": "running",
    "graph": "running",
    "backfill": "batches",
    "status": "standing",
    "batches": "listing",
    "cancel": "canceling",
    "runs": "inspecting",
    "show": "inspecting",
    "resume": "running",
    "replay": "running",
    "captures": "captures",
    "output": "versions",
    "diff": "versions",
    "stale": "versions",
    "verify": "verifying",
    "ledger": "ledgers",
    "doctor": "doctor",
}
#: What a shell says of a program that Ctrl-C has ended.
_INTERRUPTED = 130
#: Since click 8.2: a group without a command shows its help.
_HELP = getattr(click.exceptions, "NoArgsIsHelpError", click.exceptions.Exit)


class _Group(click.Group):
    """A group whose errors are one line that says what to do; ``--debug`` shows the traceback."""

    def main(self, *args: Any, **how: Any) -> Any:
        with showing_all():
            return super().main(*args, **how)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _HELP:
            raise
        except click.UsageError as exc:
            raise _one_line(exc) from exc
        except OSError as exc:  # help and version are printed here
            raise (unwritable(exc) if failed_to_print(exc) else exc) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (_HELP, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends quietly when whoever read the output has gone
        except KeyboardInterrupt as exc:
            echo("\n" + _with_notes("Aborted!", exc), err=True)
            raise click.exceptions.Exit(_INTERRUPTED) from exc
        except click.UsageError as exc:
            raise _one_line(exc) from exc
        except click.ClickException as exc:
            kind = CommandError if exc.exit_code == CommandError.exit_code else click.ClickException
            raise kind(shown(with_ledger(ctx, exc.format_message()), lines=True)) from exc
        except (Exception, SystemExit, GeneratorExit) as exc:
            if isinstance(exc, OSError) and failed_to_print(exc):
                raise unwritable(exc) from exc
            wrong = isinstance(exc, _WRONG) and not isinstance(exc, NotDue)  # which is right later
            if ctx.params.get("debug"):
                echo("".join(traceback.format_exception(exc)), err=True)
                raise click.exceptions.Exit(CommandError.exit_code if wrong else 1) from exc
            if isinstance(exc, FlowctxError):
                unknown = isinstance(exc, UnknownRun | UnknownBatch) and LEDGER in ctx.meta
                where = f" (ledger {ctx.meta[LEDGER]})" if unknown else ""
                text = with_ledger(ctx, _with_notes(str(exc), exc), where)
                raise (CommandError if wrong else click.ClickException)(shown(text, lines=True)) from exc
            text = f"{type(exc).__name__}: {_joined(str(exc))}"
            if isinstance(exc, SystemExit):  # commands end otherwise: the code of a workflow does not decide that
                text = f"code of the workflow ended the command: {ending_text(exc)}"
            text = _with_notes(f"{text} (flowctx --debug shows where)", exc)
            raise click.ClickException(shown(text)) from exc

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)  # not in the order of the alphabet

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name in [cmd_name] if cmd_name in _MODULES else _MODULES:  # all, to say which one is nearly called so
            self.commands[name] = getattr(importlib.import_module(f"flowctx.cli.{_MODULES[name]}"), name)
            check_values(self.commands[name])
        return super().get_command(ctx, cmd_name)


class _Formatter(logging.Formatter):
    """Formats what is logged as it may be shown."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record), lines=True)


class _Warnings(logging.Handler):
    """Shows what flowctx warns of in its log as a line, but for how steps ended, which each command shows itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if not hasattr(record, "status"):
            with suppress(OSError):  # nobody reads it any more
                echo(f"Warning: {record.getMessage()}", err=True)


def _one_line(exc: click.UsageError) -> CommandError:
    command = exc.ctx.command_path if exc.ctx is not None else "flowctx"
    message = _joined(exc.format_message()).removesuffix(".")
    return CommandError(shown(f"{message}{'' if message.endswith('?') else ';'} see: {command} --help"))


def _with_notes(text: str, exc: BaseException) -> str:
    """Return a text, and what was done before an error, where something notes that."""
    return "; ".join([text, *getattr(exc, "__notes__", ())])


def _joined(text: str) -> str:
    return " ".join(text.split())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flowctx")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", is_flag=True, help="Log each step to standard error.")
def cli(debug: bool, verbose: bool) -> None:  # _Group reads it
    """Run workflows here, see what ran anywhere, and go on where it stopped.

    \b
    flowctx run flows:prices --partition date=2012-10-26,symbol=IBM
    flowctx backfill flows:prices --batch restate --select date=2012-01-03..2012-06-29
    flowctx status restate

    \b
    Exit codes: 0 all is well; 1 something failed; a retry may succeed;
    2 the command was wrong; 130 it was interrupted.
    """  # noqa: D301 - \b is for click
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    else:
        warned = _Warnings(logging.WARNING)
        logging.getLogger("flowctx").addHandler(warned)
        click.get_current_context().call_on_close(lambda: logging.getLogger("flowctx").removeHandler(warned))
    shown_before = warnings.showwarning
    warnings.showwarning = without_source(partial(echo, err=True), shown_before)
    click.get_current_context().call_on_close(lambda: setattr(warnings, "showwarning", shown_before))
    # `flowctx run flows:prices` means the flows.py in this folder, as `python -m` would.
    sys.path.insert(0, os.getcwd())


def main() -> None:
    """Run the command; the entry point of the ``flowctx`` script."""
    raise_again()
    fill_closed()
    # A command makes many values and soon ends: to look for garbage among them takes a third of the time of some.
    gc.set_threshold(50_000, 20, 50)
    try:
        with ended_by_signals():
            if _runs_here(sys.argv[1:]):
                start_early()
            cli(obj=ENDS_WITH_IT)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        gc.freeze()  # Python looks for garbage once more before it ends, and all of it ends anyway


def _runs_here(args: list[str]) -> bool:
    """Return whether arguments ask for a batch here, whose first worker can begin to import what it needs."""
    without = ("--on", "--bulk", "--dry-run", "--help", "-h")
    command = next((arg for arg in args if not arg.startswith("-")), None)
    return command == "backfill" and not any(arg.startswith(without) for arg in args)
