"""``flowctx output``, ``diff`` and ``stale``: what was known when, what changed, and what was built on it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from flowctx import versions
from flowctx.cli.completing import batch_ids
from flowctx.cli.options import (
    CommandError,
    complete_name,
    is_place,
    json_option,
    partition_option,
    read_columns,
    there_option,
)
from flowctx.cli.output import (
    echo,
    print_json_list,
    print_json_with_list,
    print_table,
    write_file,
)
from flowctx.cli.run_names import run_named
from flowctx.cli.selections import selection_typed
from flowctx.cli.standard_output import data_alone
from flowctx.cli.written_outputs import WrittenOutputs
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.version_choice import VersionChoice, read_time
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import amount, brief
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_workflow
from flowctx.core.workflow.named_workflows import named_workflows
from flowctx.versions import Differences
from flowctx.versions.changes import Tolerance
from flowctx.versions.comparing import iter_diff, iter_replay
from flowctx.versions.html_page import html_parts
from flowctx.versions.outputs import output_pages
from flowctx.versions.shown import counts, stale_data, title
from flowctx.versions.staleness import iter_stale
from flowctx.versions.waiting import WaitingDifferences

_F = TypeVar("_F", bound=Callable[..., Any])


#: Adds the argument that says which workflow; a name alone may also be that of a workflow that has runs.
workflow_argument = click.argument("target", metavar="WORKFLOW", shell_complete=complete_name)


def workflow_of(target: str, ledger: Ledger) -> Workflow:
    """Return the workflow that is meant; nothing is imported on the word of a row.

    Raises:
        CommandError: Nobody knows the name.
    """
    if is_place(target):
        return import_workflow(target)
    named = named_workflows()
    if target in named:
        return import_workflow(str(named[target]))
    places = [run.import_path for run in ledger.list_runs(workflow=target, limit=1) if run.import_path]
    hint = f" (its runs say {brief(places[0])})" if places else ""
    raise CommandError(
        f"{target!r} is no name in [tool.flowctx] of pyproject.toml; write where the workflow is, as module:name or "
        f"file.py:name{hint}"
    )


def version_options(command: _F) -> _F:
    """Add the options that say which version of each partition is meant."""
    options = (
        click.option("--batch", "batch_id", metavar="ID", shell_complete=batch_ids, help="Versions of this batch."),
        click.option("--revision", type=click.IntRange(min=1), metavar="N", help="Versions of this number."),
        click.option("--known-at", metavar="TIME", help="Versions that were current at this time, with its zone."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(short_help="Write what a step made of many partitions.")
@workflow_argument
@click.argument("step")
@click.option("--select", metavar="TEXT", help="Which partitions; by default all that were captured.")
@click.option("--until", metavar="DATE", help="The last as-of date; what is selected after it is left out.")
@version_options
@click.option("--table", metavar="NAME", help="The table of this name, of all partitions as one.")
@click.option(
    "--to", "form", type=click.Choice(["csv", "json", "parquet"]), help="Write it so, not for people to read."
)
@click.option("--file", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@there_option
def output(
    target: str,
    step: str,
    select: str | None,
    table: str | None,
    form: str | None,
    file: Path | None,
    ledger: Ledger,
    **which: Any,
) -> None:
    """Write what a step made of many partitions, whichever engine ran them: the current versions, or others.

    \b
    flowctx output flows:nav value --select "date=2013-01-02..2013-01-31"
    flowctx output flows:nav value --batch restate-jan --to csv --file nav.csv
    flowctx output flows:nav value --known-at 2013-02-15T18:00:00Z --to json
    flowctx output flows:nav value --table rows --to parquet --file rows.parquet

    A row for each partition: its dimensions, and the values of its output. With --table, the rows of that table,
    with the dimensions as columns. What is written for other tools (--to, --file) is what the step returned, values
    of secret names too.
    """  # noqa: D301 - \b is for click
    form = form or (file.suffix.removeprefix(".") if file is not None else None)
    if file is not None and form not in ("csv", "json", "parquet"):
        raise click.UsageError(f"say what {file} is to be: --to csv, --to json or --to parquet")
    if form == "parquet" and file is None:
        raise click.UsageError("Parquet is not for a terminal; say where it goes: --file NAME.parquet")
    if form is not None and file is None:
        data_alone()
    workflow = workflow_of(target, ledger)
    chosen = selection_typed(workflow, select, which["until"])
    none = f"no partition of {workflow.name} that is meant has {_version_text(which)} with an output of step {step!r}"
    none += f"; see: flowctx captures {shlex.quote(workflow.name)}"
    written = WrittenOutputs(output_pages(workflow, step, chosen, ledger=ledger, **which), table, none)
    if form is None:
        written.show()
    elif file is None:
        written.print(form)
    else:
        written.write(form, file)
        echo(f"{written.amount} written to {file}")


def _version_text(which: Mapping[str, Any]) -> str:
    """Return which version was asked for, in words."""
    if which["batch_id"] is not None:
        return f"a version of batch {which['batch_id']!r}"
    if which["revision"] is not None:
        return f"a revision {which['revision']}"
    return "a version" if which["known_at"] is None else f"a version that was current at {which['known_at']}"


@click.command(name="diff", short_help="Show what differs between two versions.")
@workflow_argument
@version_options
@click.option("--capture", "capture_id", metavar="ID", help="The version of this capture.")
@click.option(
    "--with", "other", metavar="OTHER", help="The other batch, number, time or capture; else the current one."
)
@click.option("--replay", "run_id", metavar="RUN", help="A run, and what its steps return now on what they saw then.")
@partition_option("With --replay: which partition is meant, where one run id serves several.")
@click.option("--select", metavar="TEXT", help="Which partitions; by default all that were captured.")
@click.option("--until", metavar="DATE", help="The last as-of date; what is selected after it is left out.")
@click.option("--step", metavar="STEP", help="Only this step.")
@click.option("--common", is_flag=True, help="Only partitions that have both versions.")
@click.option("--key", metavar="COLUMNS", help="The columns that say which rows of a table are one and the same.")
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, help="Numbers that differ by no more are equal.")
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, help="The same, as a part of the new number.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", default=50, show_default=True, help="Show so many.")
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page to a file."
)
@there_option
@json_option
def diff(
    target: str,
    run_id: str | None,
    partition: PartitionKey | str | None,
    other: str | None,
    select: str | None,
    until: str | None,
    common: bool,
    key: str | None,
    limit: int,
    html_file: Path | None,
    ledger: Ledger,
    as_json: bool,
    step: str | None,
    atol: float,
    rtol: float,
    **which: Any,
) -> None:
    """Show what differs between two versions of what a workflow made, the largest changes first.

    \b
    flowctx diff flows:nav --batch first --with restate
    flowctx diff flows:nav --batch first --select "date=2013-01-02..2013-01-31"
    flowctx diff flows:nav --known-at 2013-01-15T18:00Z --key symbol --rtol 1e-9
    flowctx diff flows:nav --capture "2013-01-02|A|one" --with "2013-01-02|A|two"
    flowctx diff flows:nav --replay RUN_ID

    Without --with, the other version is the current one. Rows of tables are compared by --key, else by position.

    Exit code 1: something differs.
    """  # noqa: D301 - \b is for click
    workflow = workflow_of(target, ledger)
    how = Tolerance(atol=atol, rtol=rtol, key=read_columns(key))
    if run_id is not None:
        _check_replay(other, select=select, until=until, common=common, **which)
        run_id, one = run_named(ledger, run_id, partition)
        found = Differences(workflow=workflow.name, before=f"run {run_id}", after="its replay")
        some = iter_replay(workflow, run_id, how, partition=one, step=step, ledger=ledger)
    elif partition is not None:
        raise click.UsageError("--partition says which of a run's is replayed; for versions write --select")
    else:
        before, after = _sides(which, other)
        found = Differences(workflow=workflow.name, before=before.text, after=after.text)
        scope: dict[str, Any] = {"step": step, "common": common, "until": until}
        chosen = selection_typed(workflow, select, until)
        some = iter_diff(workflow, before, after, chosen, how, ledger=ledger, **scope)
    lines = None if html_file is not None else 0 if as_json else limit + 1
    with WaitingDifferences(found, some, lines=lines, data=as_json) as waiting:
        _show_differences(waiting, limit, html_file, as_json=as_json)
        if not waiting.found.equal:
            raise click.exceptions.Exit(1)


def _check_replay(other: str | None, **how: Any) -> None:
    """Refuse what a run that is compared with its replay has no use for.

    Raises:
        click.UsageError: Another version, or a selection.
    """
    if other is not None:
        raise click.UsageError("--replay compares a run with itself; leave out --with")
    if beside := [f"--{name.replace('_', '-').removesuffix('-id')}" for name, value in how.items() if value]:
        raise click.UsageError(f"--replay compares a run with itself; leave out {' and '.join(beside)}")


def _sides(which: dict[str, Any], other: str | None) -> tuple[VersionChoice, VersionChoice]:
    """Return the two versions that are meant; the second one is of the kind of the first."""
    named = {name: value for name, value in which.items() if value is not None}
    if not named:
        raise click.UsageError("say which version is compared: --batch, --revision, --known-at or --capture")
    before = VersionChoice(**{**named, "known_at": read_time(named.get("known_at"))})
    if other is None:
        return before, VersionChoice()
    kind = next(iter(named))
    if kind == "revision" and not other.isdecimal():
        raise click.UsageError(f"--with {other!r} is no number of a revision")
    value = int(other) if kind == "revision" else read_time(other) if kind == "known_at" else other
    return before, VersionChoice(**{kind: value})  # type: ignore[arg-type]


def _show_differences(waiting: WaitingDifferences, limit: int, html_file: Path | None, *, as_json: bool) -> None:
    found = waiting.found
    if html_file is not None:
        write_file(html_file, (part.encode() for part in html_parts(found, waiting.lines())))
    if as_json:
        print_json_with_list(waiting.head(), "steps", waiting.data())
        return
    headline = f"{title(found)}: {counts(found)}"
    some = list(itertools.islice(waiting.lines(), limit + 1))
    columns = ("partition", "step", "what", "kind", "old", "new", "change")
    rows = [(*line[:6], "" if line.delta is None else f"{line.delta:+.6g}") for line in some[:limit]]
    print_table(headline, columns, rows, none=headline)
    if len(some) > limit:
        echo("there is more: --limit N, --json or --html FILE")


@click.command(short_help="List what was built on what has changed since.")
@workflow_argument
@click.option("--select", metavar="TEXT", help="Which partitions; by default all that were captured.")
@click.option("--until", metavar="DATE", help="The last as-of date; what is selected after it is left out.")
@click.option("--code", is_flag=True, help="Also list partitions of which a step ran with other code than it has now.")
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, help="Numbers that differ by no more are the same.")
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, help="The same, as a part of the new number.")
@there_option
@json_option
def stale(target: str, ledger: Ledger, as_json: bool, **how: Any) -> None:
    """List partitions that were built on something else than would be read now; and by which way.

    \b
    flowctx stale flows:month
    flowctx stale flows:month --select month=2013-01-31 --rtol 1e-9
    flowctx stale flows:month --code --json

    What was read was captured again with other content, or is not what the inputs ask for now; the same content makes
    nothing stale. Partitions of which no version is current any more are listed, too, unless a run is at them. To run
    all of that again: flowctx backfill WORKFLOW --stale --batch ID.
    """  # noqa: D301 - \b is for click
    workflow = workflow_of(target, ledger)
    how["select"] = selection_typed(workflow, how["select"], how["until"])
    if as_json:
        print_json_list(map(stale_data, iter_stale(workflow, ledger=ledger, **how)))
        return
    found = versions.stale(workflow, ledger=ledger, **how)
    rows = [(one.partition, one.capture_id, one.reason) for one in found]
    none = f"nothing of {workflow.name} is stale"
    print_table(
        f"stale: {amount(len(found), 'partition')} of {workflow.name}", ("partition", "capture", "why"), rows, none=none
    )
