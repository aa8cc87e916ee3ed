"""A ledger that was typed, and not set: what a command advises to type next needs it, too."""

from __future__ import annotations

import re
import shlex
from functools import partial

import click
from click.core import ParameterSource

from flowctx.core.masking import mask_text

_COMMANDS = re.compile(
    r"\bflowctx (?:backfill|batches|cancel|captures|diff|doctor|ledger|output|replay|resume|run|runs|show|stale|status|"
    r"verify)\b"
)
_TYPED, _ADVISED = "flowctx.typed_ledger", "flowctx.advised"


def note_ledger(ctx: click.Context, name: str, url: str | None) -> None:
    """Note the ledger of a command that has it as an option; the reminder is printed when the command ends."""
    if url is not None and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        ctx.meta[_TYPED] = shlex.quote(mask_text(url))
        ctx.call_on_close(partial(_remind, ctx))


def note_advice(text: str) -> None:
    """Note whether a text that is printed says which command to type."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None and _TYPED in ctx.meta and _COMMANDS.search(text):
        ctx.meta[_ADVISED] = True


def with_ledger(ctx: click.Context, text: str, otherwise: str = "") -> str:
    """Return the text of an error, with the ledger if it says which command to type, or else with something else."""
    if _TYPED in ctx.meta and _COMMANDS.search(text):
        return f"{text} (with --ledger {ctx.meta[_TYPED]})"
    return f"{text}{otherwise}"


def _remind(ctx: click.Context) -> None:
    if _ADVISED in ctx.meta:
        click.echo(f"add to these commands, as here: --ledger {ctx.meta[_TYPED]}", err=True)
