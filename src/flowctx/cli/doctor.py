"""``flowctx doctor``: whether all is there that runs need, and what will stop being right by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from flowctx.cli.checks import (
    FAILED,
    Check,
    artifact_checks,
    calendar_row,
    engines,
    ledger_checks,
    named,
    packages,
    server_checks,
    settings,
)
from flowctx.cli.options import json_option, looked_at_option
from flowctx.cli.output import print_json, print_table
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import FlowctxError

if TYPE_CHECKING:
    from flowctx.core.engine_versions import Engine


@click.command(short_help="See whether all is there that runs need.")
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@click.option("--abilities", "show_abilities", is_flag=True, help="Also list what the engines that are here can do.")
@looked_at_option
@json_option
def doctor(targets: tuple[str, ...], show_abilities: bool, ledger: Ledger | FlowctxError, as_json: bool) -> None:
    """See whether all is there that runs need: versions, ledger, artifacts, servers, settings, calendars.

    TARGET is module:name, file.py:name or a name in [tool.flowctx] of pyproject.toml; all of the latter by default.
    The ledger is only read; of the artifact store, a small file is written, read and deleted; servers are asked where
    FLOWCTX_AIRFLOW_URL or FLOWCTX_DAGSTER_URL names them. Exit code 1 if anything failed or a calendar has ended.

    \b
    flowctx doctor
    flowctx doctor flows:prices
    flowctx doctor --abilities
    flowctx doctor --json
    """  # noqa: D301 - \b is for click
    found = list(engines())
    names, unread = named()
    checks = [
        *packages(),
        *(check for check, _ in found),
        *ledger_checks(ledger),
        *artifact_checks(ledger),
        *server_checks(),
        *settings(),
        *unread,
    ]
    abilities = [row for _, engine in found if engine is not None for row in _abilities(engine)]
    calendars = [calendar_row(target, names.get(target, target)) for target in targets or names]
    failed = any(check.state == FAILED for check in checks)
    ok = not failed and not any(row["ended"] or row["failed"] for row in calendars)
    if as_json:
        rows = [check._asdict() for check in checks]
        print_json({"ok": ok, "checks": rows, "abilities": abilities, "calendars": calendars})
    else:
        _print(checks, abilities if show_abilities else [], calendars)
    if not ok:
        raise click.exceptions.Exit(1)


def _abilities(engine: Engine) -> list[dict[str, Any]]:
    return [
        {"engine": engine.name, "ability": name, "able": engine.able(name), "since": since, "otherwise": otherwise}
        for name, (since, otherwise) in engine.abilities.items()
    ]


def _print(checks: Sequence[Check], abilities: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    shown = [(check.what, check.found or "-", check.state, check.note) for check in checks]
    print_table("Here", ("what", "found", "state", "note"), shown)
    if abilities:
        able = [
            (row["engine"], row["ability"], row["since"], "yes" if row["able"] else f"no: {row['otherwise']}")
            for row in abilities
        ]
        print_table("Abilities", ("engine", "ability", "since", "here"), able)
    columns = ("workflow", "calendar", "known until", "days left", "note")
    calendars = [[row[name.replace(" ", "_")] or "-" for name in columns[:-1]] + [row["note"]] for row in rows]
    none = "No workflow is named: give module:name, or name workflows in [tool.flowctx] of pyproject.toml."
    print_table("Calendars", columns, calendars, none=none)
