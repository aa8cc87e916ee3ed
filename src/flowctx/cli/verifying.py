"""``flowctx verify``: whether engines agree."""

from __future__ import annotations

from typing import Any

import click

from flowctx.backfill.call import launcher_on
from flowctx.cli.engines import refuse_url
from flowctx.cli.options import (
    batches_as_typed,
    json_option,
    params_option,
    read_columns,
    read_params,
    target_argument,
    there_option,
)
from flowctx.cli.output import echo, print_json, print_table
from flowctx.cli.selections import selection_typed
from flowctx.core.durability.ledger import Ledger
from flowctx.core.workflow.import_path import import_workflow
from flowctx.parity import ENGINES, Parity
from flowctx.parity import verify as compare
from flowctx.parity.processes import Processes
from flowctx.parity.shown import headline, lines, to_data
from flowctx.parity.verifying import with_dates


@click.command(short_help="Run partitions here and on engines, and compare.")
@target_argument
@click.option("--select", metavar="TEXT", help="Which partitions, such as date=last:5.")
@click.option("--until", metavar="DATE", help="The last as-of date; what is selected after it is left out.")
@click.option("--on", "engines", default=",".join(ENGINES), show_default=True, help="The engines.")
@params_option
@click.option(
    "--url",
    "urls",
    multiple=True,
    metavar="[ENGINE=]URL",
    help="Compare with a server; may be repeated.",
)
@click.option("--ignore", multiple=True, metavar="STEP[.PATH]", help="A step, or a value, that may differ; repeat it.")
@click.option("--key", metavar="COLUMNS", help="The columns that say which rows of a table are one and the same.")
@click.option("--atol", type=click.FloatRange(min=0), default=0.0, help="Numbers that differ by no more are equal.")
@click.option("--rtol", type=click.FloatRange(min=0), default=0.0, help="The same, as a part of the engine's number.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", default=50, show_default=True, help="Show so many.")
@there_option
@json_option
def verify(
    target: str,
    engines: str,
    params: dict[str, str],
    key: str | None,
    urls: tuple[str, ...],
    limit: int,
    as_json: bool,
    ledger: Ledger,
    **how: Any,
) -> None:
    """Run partitions here, here again, and on engines with real tasks; and name the first step that differs.

    \b
    flowctx verify flows:nav --select "date=last:5"
    flowctx verify flows:nav --select "date=2026-01-09,fund=GROWTH" --on airflow
    flowctx verify flows:nav --select "date=last:5" --ignore fetch.at --rtol 1e-9

    Each side is a process with a ledger of its own in a temporary folder, and an engine of its own. What the partitions
    read of others is copied there from the ledger, which is only read. With --url, runs are launched on a server, which
    records them in its own ledger: --ledger has to be that one, and one for tests.

    Exit code 1: something differs.
    """  # noqa: D301 - \b is for click
    workflow = import_workflow(target)
    on = [name.strip() for name in engines.split(",") if name.strip()]
    typed = with_dates(workflow, how["select"]) if how["select"] else None
    how["select"] = selection_typed(workflow, typed, how["until"])
    with batches_as_typed():  # a server may be none for tests
        found = compare(
            workflow,
            on=on,
            ledger=ledger,
            servers={name: launcher_on(name, url, None, ledger) for name, url in _servers(urls, on).items()},
            params=read_params(workflow, params),
            key=read_columns(key),
            run_sides=Processes(target),
            **how,
        )
    if as_json:
        print_json(to_data(found))
    else:
        _show(found, limit)
    if not found.equal:
        raise click.exceptions.Exit(1)


def _servers(urls: tuple[str, ...], engines: list[str]) -> dict[str, str]:
    """Return the URL of the server of each engine that has one."""
    found: dict[str, str] = {}
    for text in urls:
        name, equals, url = text.partition("=")
        if name in ENGINES and equals:
            found[name] = url
        elif len(engines) == 1:
            found[engines[0]] = text
        else:
            raise click.UsageError(f"say whose URL {text} is: --url airflow={text}, or --url dagster={text}")
    if odd := next((name for name in found if name not in engines), None):
        raise click.UsageError(f"--url {odd}=… is for an engine that --on does not name")
    refuse_url("local", found.get("local"))
    return found


def _show(found: Parity, limit: int) -> None:
    echo(headline(found))
    for why, count in found.reasons.most_common(5):
        echo(f"{count:,} alike: {why}")
    for one in found.disagreements[:limit]:
        rows = [(line.path, line.old, line.new) for line in lines(one)]
        there = one.engine if one.deterministic else "here again"
        print_table(f"\n{one.text}", ("what", "here", there), rows[:limit])
        if len(rows) > limit:
            echo("there is more: --limit N or --json")
    if len(found.disagreements) > limit:
        echo(f"{len(found.disagreements) - limit:,} more: --limit N or --json")
