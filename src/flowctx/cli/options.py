"""Options that several commands share, and what they mean."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowctx.cli.standard_output import data_alone
from flowctx.cli.typed_ledger import note_ledger
from flowctx.core.dates.parsing import parse_date
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import BatchError, CalendarError, ContextError, FlowctxError, LedgerError, NotDue, UnknownBatch
from flowctx.core.masking import mask_text
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_workflow, is_import_path
from flowctx.core.workflow.named_workflows import named_workflows
from flowctx.core.workflow.parameters import Parameter, typed_value
from flowctx.ledger import default_ledger_url, open_ledger
from flowctx.ledger.file_rights import file_of
from flowctx.ledger.refusals import no_ledger

#: Under this name a command's context has the ledger's URL, for the messages of errors.
LEDGER = "flowctx.ledger"
#: The largest number that SQLite and PostgreSQL hold is one more: to see whether there are more, one more is asked for.
_LARGEST = 2**63 - 2
_ELSEWHERE = "name a ledger elsewhere: --ledger sqlite:////folder/ledger.db, or FLOWCTX_LEDGER_URL"
#: What looks like a date, and should be one.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_F = TypeVar("_F", bound=Callable[..., Any])


class CommandError(click.ClickException):
    """The command was wrong; the message says what to do instead."""

    exit_code = 2


@contextmanager
def batches_as_typed() -> Iterator[None]:
    """Take what does not fit a batch for a wrong command: typed again, it is refused again."""
    try:
        yield
    except (UnknownBatch, NotDue):
        raise  # the one is told with the ledger, the other is right later
    except BatchError as exc:
        raise CommandError(str(exc)) from exc


class _Text(click.types.StringParamType):
    """A text that can be read: what is no text in the encoding of the locale would be found under no name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if any("\ud800" <= char <= "\udfff" for char in text):
            encoding = sys.getfilesystemencoding()
            remedy = "write it as UTF-8" if encoding == "utf-8" else "set PYTHONUTF8=1"
            self.fail(f"{text!r} cannot be read in the encoding of the locale, {encoding}; {remedy}", param, ctx)
        return text


class _FilledText(_Text):
    """A text that is not empty: a variable that was never set names nothing, and no option that was left out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        if not text.strip():
            option = "leave the option out, or " if isinstance(param, click.Option) else ""
            self.fail(f"it is empty; {option}say what is meant", param, ctx)
        return text


class _Count(click.IntRange):
    """A number that every database holds."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if number > _LARGEST:
            self.fail(f"{number} is larger than databases take; the largest is {_LARGEST}", param, ctx)
        return number


class _Number(click.FloatRange):
    """A number, which help and errors call so."""

    name = "number"


def check_values(command: click.Command) -> None:
    """Let a command, and those in it, refuse texts that cannot be read or are empty, and too large numbers."""
    for param in command.params:
        if param.type is click.STRING:
            param.type = _FilledText()
        elif type(param.type) is click.IntRange:
            param.type = _Count(min=param.type.min)
        elif type(param.type) is click.FloatRange:
            param.type = _Number(min=param.type.min)
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        check_values(one)


def _open(
    ctx: click.Context, param: click.Parameter, url: str | None, *, make: bool = True
) -> Ledger | str | None:  # click calls it
    if ctx.resilient_parsing:  # a shell asks what could be typed: nothing is to be opened or made for that
        return url
    if url is None:
        url = default_ledger_url()
        if make:
            _make_folder(Path(url.removeprefix("sqlite:///")).parent)
    ledger = open_ledger(url, make=make)
    ctx.call_on_close(ledger.close)
    ctx.meta[LEDGER] = mask_text(url)
    return ledger


def _open_there(ctx: click.Context, param: click.Parameter, url: str | None) -> Ledger | str | None:
    """Open a ledger that is only read, or changed: a slip in its name is to make no new one."""
    if url is not None and not ctx.resilient_parsing and not _is_there(url):
        raise no_ledger(mask_text(url), "no such file")
    return _open_if_there(ctx, param, url)


def _open_if_there(ctx: click.Context, param: click.Parameter, url: str | None) -> Ledger | str | None:
    """Open a ledger, or stand in for it where there is none yet: nothing is made."""
    if ctx.resilient_parsing:
        return url
    place = url or default_ledger_url()
    if _is_there(place):
        return _open(ctx, param, url, make=False)
    return _not_yet(ctx, place)


def _open_or_say(ctx: click.Context, param: click.Parameter, url: str | None) -> Ledger | str | FlowctxError | None:
    try:
        return _open_if_there(ctx, param, url)
    except FlowctxError as exc:
        if isinstance(exc, ContextError) and ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE:
            raise  # what was typed is no URL
        return exc


def _open_unless_planned(ctx: click.Context, param: click.Parameter, url: str | None) -> Ledger | str | None:
    """Open a ledger that is made if need be, but not for a plan alone."""
    if ctx.resilient_parsing or not ctx.params.get("dry_run"):
        return _open(ctx, param, url)
    ledger = _open_if_there(ctx, param, url)
    revision = getattr(ledger, "revision", None)
    return ledger if revision is None or revision() else _not_yet(ctx, url or default_ledger_url())


def _not_yet(ctx: click.Context, place: str) -> Ledger:
    from flowctx.cli.not_yet import NotYetLedger

    ctx.meta[LEDGER] = mask_text(place)
    return NotYetLedger(place)


def _is_there(url: str) -> bool:
    """Whether a ledger may be there: of what is no file, nobody knows before it is opened."""
    try:
        return not url.startswith("sqlite:///") or file_of(url).stat() is not None
    except (FileNotFoundError, NotADirectoryError):
        if "?" in url:
            from flowctx.ledger.ledger_urls import ledger_url  # here, because SQLAlchemy is slow to import

            ledger_url(url)  # of one that is none, nobody knows which file is meant
        return False
    except OSError as exc:
        raise LedgerError(f"the ledger {mask_text(url)} cannot be looked at ({exc.strerror}); {_ELSEWHERE}") from exc


def name_of(ledger: Ledger) -> str:
    """Return a ledger's name for messages, without secrets.

    Example:
        >>> name_of(open_ledger("memory://"))
        'the ledger memory://'
    """
    name = f"the ledger {mask_text(str(getattr(ledger, 'url', 'memory://')))}"
    return f"{name} is not there yet: it" if getattr(ledger, "not_yet", False) else name


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise CommandError(f"the folder {folder} for the ledger cannot be made ({exc.strerror}); {_ELSEWHERE}") from exc


def _params(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    params: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not of the form name=value")
        if name in params:
            raise click.BadParameter(f"{name!r} is given twice; give it once")
        params[name] = value
    return params


def read_columns(text: str | None) -> tuple[str, ...]:
    """Return the columns of ``--key``, without the blanks around them.

    Raises:
        click.UsageError: One has no name.
    """
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    if not all(names):
        raise click.UsageError(f"--key {text!r} names a column without a name; write --key symbol,date")
    return names


def read_params(workflow: Workflow | None, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what was typed as ``-p name=value``, read as the types that the workflow's defaults have, or as JSON.

    Raises:
        ContextError: One is none of its type.
    """
    known = workflow.parameters if workflow is not None else {}
    return {n: known[n].read_text(text) if n in known else typed_value(text) for n, text in texts.items()}


def _partition(ctx: click.Context, param: click.Parameter, text: str | None) -> PartitionKey | str | None:
    if text is None or "=" not in text:
        return text
    key = PartitionKey.parse(text)
    for name, value in key.items():
        if _DATE.fullmatch(value):
            try:
                parse_date(value, name)
            except CalendarError as exc:
                raise click.BadParameter(str(exc)) from exc
    return key


def _place(ctx: click.Context, param: click.Parameter, text: str) -> str:
    """Return where a workflow is that the project's pyproject.toml has a name for."""
    if ":" in text or "." in text or ctx.resilient_parsing:
        return text
    named = named_workflows()
    if named and text not in named and text.isidentifier() and importlib.util.find_spec(text) is None:
        known = ", ".join(named)
        raise CommandError(
            f"there is no module {text!r}, and no such name in [tool.flowctx] of pyproject.toml; it has {known}"
        )
    return str(named.get(text, text))


def is_place(text: str) -> bool:
    """Return whether a text says where a workflow is, and is no name."""
    return ":" in text or text.endswith(".py")


def own_name(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """Return a workflow's own name, by which its runs go; also where it is typed as a place in the code."""
    if text is None or ctx.resilient_parsing or not is_place(text):
        return text
    return import_workflow(text).name


def _places(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> list[str]:
    for text in texts if param.name == "targets" and not ctx.resilient_parsing else ():
        if "=" in text and ":" not in text.partition("=")[0] and not is_import_path(text):
            raise CommandError(f"{text!r} is no workflow; which partitions: --select {shlex.quote(text)}")
    return [_place(ctx, param, text) for text in texts]


def complete_name(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Return the names in ``[tool.flowctx]`` that begin with what was typed."""
    return [name for name in named_workflows() if name.startswith(begun)]


def _ledger_option(
    opening: Callable[[click.Context, click.Parameter, str | None], Ledger | str | FlowctxError | None],
) -> Callable[[_F], _F]:
    def opened(ctx: click.Context, param: click.Parameter, url: str | None) -> Ledger | str | FlowctxError | None:
        note_ledger(ctx, str(param.name), url)
        return opening(ctx, param, url)

    return click.option(
        "--ledger",
        envvar="FLOWCTX_LEDGER_URL",
        metavar="URL",
        callback=opened,
        help="Where runs are remembered; by default FLOWCTX_LEDGER_URL, or a SQLite file of your own.",
    )


def _alone(ctx: click.Context, param: click.Parameter, as_json: bool) -> bool:
    if as_json and not ctx.resilient_parsing:
        data_alone()
    return as_json


def read_step_config(workflow: Workflow, texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what was typed as ``--step-config step.name=value``, read as the types of the steps' own, or as JSON.

    Raises:
        CommandError: It names no step.
        ContextError: A value is none of its type.
    """
    found: dict[str, dict[str, Any]] = {}
    for place, text in texts.items():
        step, dot, name = place.partition(".")
        if not dot or not name:
            form = f"{place}.NAME={text}" if place in workflow.steps else f"STEP.{place}={text}"
            steps = ", ".join(workflow.steps)
            raise CommandError(
                f"--step-config {place}={text} is not of the form STEP.NAME=VALUE: write {form}; the steps are {steps}"
            )
        own = workflow.steps[step].config if step in workflow.steps else {}
        try:
            value = Parameter.of(name, own[name]).read_text(text) if name in own else typed_value(text)
        except ContextError as exc:
            raise ContextError(str(exc).replace("params[", f"step_config[{step!r}][", 1)) from None
        found.setdefault(step, {})[name] = value
    return found


def partition_option(help_text: str) -> Callable[[_F], _F]:
    """Add ``--partition``, which the command gets as a partition key of no scheme in particular.

    Values alone, such as ``2012-10-26|IBM``, stay text: the ledger tells which dimensions they are of.

    Args:
        help_text: What it is for.
    """
    return click.option("--partition", metavar="KEY", callback=_partition, help=help_text)


#: Adds the argument that says which workflow: its place, or its name in ``[tool.flowctx]``.
target_argument = click.argument("target", metavar="WORKFLOW", callback=_place, shell_complete=complete_name)
#: Adds the same argument for one or more workflows.
targets_argument = click.argument(
    "targets", metavar="WORKFLOW...", nargs=-1, required=True, callback=_places, shell_complete=complete_name
)
#: Adds ``--ledger``, which the command gets as an open ledger.
ledger_option = _ledger_option(_open)
#: Adds ``--ledger`` for a command that makes none: one that is not there is refused.
there_option = _ledger_option(_open_there)
#: Adds ``--ledger`` for a command that makes none when it is given ``--dry-run``.
planned_option = _ledger_option(_open_unless_planned)
#: Adds ``--ledger`` for a command that says how the ledger stands; one that cannot be opened is why it cannot.
looked_at_option = _ledger_option(_open_or_say)
#: Adds ``--json``: nothing else is on standard output then.
json_option = click.option("--json", "as_json", is_flag=True, callback=_alone, help="Print JSON.")
#: Adds ``--step-config``, which the command gets as a dict of texts; see :func:`read_step_config`.
step_config_option = click.option(
    "--step-config",
    metavar="STEP.NAME=VALUE",
    multiple=True,
    callback=_params,
    help="Configuration of a step, on top of its own; may be repeated.",
)
#: Adds ``--param``, which the command gets as a dict of texts; see :func:`read_params`.
params_option = click.option(
    "-p",
    "--param",
    "params",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_params,
    help="A parameter, as JSON or text; may be repeated.",
)
#: Adds ``--workflow`` for a run whose workflow is to be found elsewhere than where it was.
workflow_option = click.option(
    "--workflow",
    "target",
    metavar="MODULE:NAME",
    callback=lambda ctx, param, text: None if text is None else _place(ctx, param, text),
    shell_complete=complete_name,
    help="Where the workflow is, if not where it was.",
)
#: Adds ``--workflow``, which may be repeated, for a batch whose workflows are to be known.
workflows_option = click.option(
    "--workflow",
    "targets",
    metavar="MODULE:NAME",
    multiple=True,
    callback=_places,
    shell_complete=complete_name,
    help="Where the workflow is, which knows what is missing; may be repeated.",
)
