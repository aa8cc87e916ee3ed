"""``flowctx status``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from flowctx.backfill.advice import advice, advice_on_rest
from flowctx.backfill.belonging import batch_asked_of
from flowctx.backfill.changed import refused_now
from flowctx.backfill.engine_runs import import_engine_runs
from flowctx.backfill.settling import Settling, end_silent_runs
from flowctx.backfill.status import MAX_FAILURES, BatchStatus, counted, refusals
from flowctx.backfill.superseding import superseded_text
from flowctx.cli.completing import batch_ids
from flowctx.cli.engines import engine_options, refuse_url
from flowctx.cli.grids import print_grid
from flowctx.cli.options import batches_as_typed, json_option, there_option, workflows_option
from flowctx.cli.output import clock_time, echo, masked_json, print_facts, print_json, print_table, spent, write_file
from flowctx.core.batches.partition_params import has_params_again
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.core.data.encoding import to_json
from flowctx.core.data.secrets import without_digests
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import EngineError
from flowctx.core.printable import amount, share
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_path_of, import_workflow


@click.command(short_help="Show how a batch stands, and what failed.")
@click.argument("batch_id", metavar="BATCH", shell_complete=batch_ids)
@engine_options("The engine to ask first.")
@workflows_option
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write a page to a file."
)
@click.option(
    "--failures", "most", type=click.IntRange(min=0), metavar="N", default=20, show_default=True, help="List so many."
)
@there_option
@json_option
def status(
    batch_id: str,
    engine: str | None,
    url: str | None,
    targets: Sequence[str],
    html_file: Path | None,
    most: int,
    ledger: Ledger,
    as_json: bool,
) -> None:
    """Show how a batch stands, whichever engine it ran on and whoever started it.

    With --on, the engine is asked first; a batch that it started by itself is found so, too.

    \b
    flowctx status restate
    flowctx status restate --html restate.html
    flowctx status restate --on airflow --workflow flows:prices
    """  # noqa: D301 - \b is for click
    workflows = [import_workflow(target) for target in targets]
    with batches_as_typed():
        for why in ask_engine(ledger, batch_id, engine, url, workflows):
            echo(f"not asked anew: {why}", err=True)
        found = BatchStatus.of(ledger, batch_id, *workflows, failures=max(most, MAX_FAILURES))
    if (
        found.batch.canceled_at is not None
        and PartitionState.RUNNING in found.counts
        and end_silent(ledger, found.batch)
    ):
        found = BatchStatus.of(ledger, batch_id, *workflows, failures=max(most, MAX_FAILURES))
    if html_file is not None:
        _write_page(ledger, found, html_file)
    if as_json:
        print_json(found.to_dict())
    else:
        _show_status(found, most, workflows, ledger)
        if html_file is not None:
            echo(f"\nwritten to {html_file}")


def _write_page(ledger: Ledger, status: BatchStatus, file: Path) -> None:
    """Write the page about a batch, with its latest tables and what they were built from."""
    from flowctx.backfill.html_page import render_html  # here: a status without a page needs none of it
    from flowctx.backfill.previews import latest_tables
    from flowctx.versions.lineage import lineage
    from flowctx.versions.lineage_drawing import draw_lineage

    latest = [replace(one, lineage=draw_lineage(lineage(ledger, one.run))) for one in latest_tables(ledger, status)]
    write_file(file, render_html(status, latest).encode())


def ask_engine(
    ledger: Ledger, batch_id: str, engine: str | None, url: str | None, workflows: Sequence[Workflow]
) -> list[str]:
    """Note what the engine knows of the batch: the one that is named, or else the one that it was launched on.

    Returns:
        Why the latter could not be asked, if it could not.
    """
    known = ledger.find_batch(batch_id) if engine is not None else ledger.batches.get(batch_id)
    refuse_url(engine or (known.engine if known is not None else None), url)
    if engine is None and known is not None:
        return _ask_again(ledger, known, url, workflows)
    if engine in (None, "local"):
        return []
    if not workflows:
        place = shlex.quote((known.import_path if known is not None else None) or "MODULE:NAME")
        raise click.UsageError(f"with --on {engine} also say whose batch {batch_id} is: --workflow {place}")
    for workflow in workflows:
        batch = known or BatchRecord(
            batch_id=batch_id,
            workflow=workflow.name,
            import_path=import_path_of(workflow),
            engine=engine,
            created_at=datetime.now(UTC),
        )
        batch = batch_asked_of(batch, workflow)
        if _adopt(ledger, batch, str(engine), url, workflow) and known is None:
            known = batch
            ledger.batches.put(batch)
    return []


def _ask_again(ledger: Ledger, known: BatchRecord, url: str | None, workflows: Sequence[Workflow]) -> list[str]:
    """Note what the engine knows that a batch was launched on; returns why it could not be asked, if it could not."""
    if known.engine in (None, "local") or (known.import_path is None and not workflows):
        return []
    refused: dict[str, None] = {}  # of several workflows mostly the same
    by_name = {workflow.name: workflow for workflow in workflows}
    of_each = {one.workflow: one for one in known.by_workflow()}
    if workflows and known.selection is None and not known.others:  # nobody planned it: it is of those that are named
        of_each = {name: batch_asked_of(known, workflow) for name, workflow in by_name.items()}
    for name, one in of_each.items():
        if (workflow := by_name.get(name)) is None:
            whose = f" of {one.workflow}" if known.others else ""
            echo(
                f"{known.engine} was not asked anew{whose}: that needs the workflow (--workflow MODULE:NAME)", err=True
            )
            continue
        try:
            _adopt(ledger, one, str(known.engine), url, workflow)
        except EngineError as exc:
            refused[str(exc)] = None
    return list(refused)


def _adopt(ledger: Ledger, batch: BatchRecord, engine: str, url: str | None, workflow: Workflow) -> int:
    from flowctx.backfill.call import launcher_on  # here, because a look at the ledger needs none of it

    asked_at = ledger.now()
    differing: Counter[tuple[PartitionState, PartitionState]] = Counter()

    launcher = launcher_on(engine, url, None, ledger)

    def found() -> Iterator[PartitionRun]:
        settling = Settling(ledger, batch.batch_id, launcher)
        for settled in settling.settle_all(launcher.find(batch, workflow), batch.workflow, asked_at):
            if settled.beside:  # which is none of the batch
                continue
            there, here = PartitionState.OK if settled.lost else settled.noted.state, settled.known.state
            differing[there, here] += there.ended and there.done is not here.done
            yield settled.noted

    imported = import_engine_runs(ledger.batches, batch, found())
    for (there, here), count in sorted((+differing).items()):
        echo(
            f"{engine} has {amount(count, 'run')} as {there}, and by the steps that are recorded {here}, "
            "which counts: it was marked there, went on elsewhere, or the ledger was away",
            err=True,
        )
    return imported


def _show_status(found: BatchStatus, most: int, workflows: Sequence[Workflow], ledger: Ledger) -> None:
    batch, asked = found.batch, [workflow.name for workflow in workflows]
    each = [one.batch for one in found.by_workflow] or [batch]
    refused = (run for one in each for run in refused_now(ledger, one, workflows, found.failures))
    now = {_place(run): run for run in refused}
    times = {name: spent(timedelta(seconds=value)) for name, value in found.seconds.items()}
    print_facts(
        {
            "batch": batch.batch_id,
            "workflow": ", ".join(one.workflow for one in each),
            "selection": None if found.by_workflow else batch.selection,
            "params": None if found.by_workflow else _params(found),
            "partitions": f"{found.total:,}",
            **_shares(found),
            "unclear": _unclear(found, asked),
            "outside": _outside(found),
            "by date": "; ".join(f"{date}: {counted(n)}" for date, n in sorted(found.dates.items())) or None,
            "other workflows": "; ".join(f"{name}: {counted(n)}" for name, n in found.others.items()) or None,
            "engines": ", ".join(f"{name} {count:,}" for name, count in found.engines.items()) or None,
            "a run took": ", ".join(f"{name} {value}" for name, value in times.items()) or None,
            "started": f"{clock_time(found.started_at)} UTC" if found.started_at else None,
            "last ended": f"{clock_time(found.ended_at)} UTC" if found.ended_at else None,
            "canceled at": f"{clock_time(batch.canceled_at)} UTC" if batch.canceled_at else None,
        }
    )
    _show_workflows(found, asked)
    anew = [now[_place(run)] for run in found.failures if run.refused is None and _place(run) in now]
    _show_reasons(found, Counter(refusals(anew)))
    if found.failures and most:
        _show_failures(found, most, now)
    on_rest = advice_on_rest(found.counts, found.engines, found.batch, found.unrecorded)
    for note in (superseded_text(found.superseded, found.total), on_rest):
        if note is not None:
            echo(note)


def _show_failures(found: BatchStatus, most: int, now: Mapping[tuple[str, ...], PartitionRun]) -> None:
    """Print what failed, and what to do about it, also where it would not go on now."""
    rows = [
        (run.title, run.step, run.engine, run.run_id if run.has_run else None, run.error)
        for run in found.failures[:most]
    ]
    print_table("\nfailures", ("partition", "step", "engine", "run", "why"), rows)
    if found.failed > len(found.failures):
        echo(f"of the first {len(found.failures):,}:")
    for line in advice([now.get(_place(run), run) for run in found.failures], found.batch):
        echo(line)
    if found.failed > most:
        echo(f"{found.failed - most:,} more: --failures {found.failed}")


def _place(run: PartitionRun) -> tuple[str, ...]:
    return run.workflow, run.partition, run.run_id


def _show_reasons(found: BatchStatus, now: Mapping[str, int]) -> None:
    """Print why partitions stand as they do that have not failed, and why failed ones could not go on, or would not."""
    reasons = {
        "skipped": found.skips,
        "optional steps failed": found.tolerated,
        "partial": found.partial,
        "waiting": found.waits,
        "could not go on": found.refused,
        "would not go on": now,
    }
    for title, by_reason in reasons.items():
        if by_reason:
            print_table(f"\n{title}", ("partitions", "why"), [(f"{n:,}", why) for why, n in by_reason.items()])


def _show_workflows(found: BatchStatus, asked: Sequence[str]) -> None:
    """Print the partitions, in rows and columns; those of each workflow where there are several."""
    for one in found.by_workflow:
        facts = {"workflow": one.batch.workflow, "selection": one.batch.selection, "params": _params(one)}
        echo("")
        doubts = {"unclear": _unclear(one, asked), "outside": _outside(one)}
        print_facts({**facts, "partitions": f"{one.total:,}: {counted(one.counts)}", **doubts})
        if one.grid is not None:
            print_grid(one.grid)
    if found.grid is not None:
        print_grid(found.grid)


def _shares(found: BatchStatus) -> dict[str, str]:
    """Return how many partitions stand how, with their share of all where that is certain."""
    certain = found.total and not found.unclear
    return {
        state: f"{count:,}" + (f" ({share(count, found.total, 1)})" if certain else "")
        for state, count in found.counts.items()
    }


def _outside(found: BatchStatus) -> str | None:
    if not found.outside:
        return None
    what = "of partitions that are not selected" if found.batch.selection else "without a partition"
    return f"{counted(found.outside)}, {what}"


def _unclear(found: BatchStatus, asked: Sequence[str]) -> str | None:
    """Say of how many partitions only a workflow tells whether they are selected; those that were asked could not."""
    if not found.unclear:
        return None
    left = [one for one in found.batch.by_workflow() if one.workflow not in asked]
    places = " ".join(f"--workflow {shlex.quote(one.import_path or 'MODULE:NAME')}" for one in left)
    how = f"the workflow as it was then tells: {places}" if left else "the workflow's partitions have changed since"
    return f"{found.unclear:,} of these may not be selected; {how}"


def _params(found: BatchStatus) -> str | None:
    batch = found.batch
    shown = masked_json(to_json(without_digests(batch.params))) if batch.params else None
    if batch.params_from is not None:
        source = "those that each partition had" if has_params_again(batch.params_from) else batch.params_from
        shown = f"{shown}, and {source}" if shown else source
    if found.other_params:
        were = "was" if found.other_params == 1 else "were"
        return f"{shown}; {amount(found.other_params, 'partition')} {were} made with others"
    return shown


def end_silent(ledger: Ledger, batch: BatchRecord) -> int:
    """End what a canceled batch has running in processes here, or of slices, that have died; say what may not have."""
    ended, left = end_silent_runs(ledger, batch)
    if left:
        until = max(run.lease_until for run in left if run.lease_until is not None)
        echo(
            f"{amount(len(left), 'run')} of workers may be under way, which finish what they are at; if they died, "
            f"this cancels it from {clock_time(until)} UTC on: flowctx status {shlex.quote(batch.batch_id)}",
            err=True,
        )
    return ended
