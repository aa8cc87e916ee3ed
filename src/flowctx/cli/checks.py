"""What ``flowctx doctor`` looks at: versions, engines, the ledger, the artifact store, settings and calendars."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

from flowctx.artifacts import MemoryArtifactStore, artifact_store
from flowctx.calendars import check_corrections
from flowctx.cli.not_yet import NotYetLedger
from flowctx.core.dates.calendar_end import calendar_end
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import FlowctxError, MissingExtra
from flowctx.core.masking import is_secret_name, mask_text
from flowctx.core.suggestions import nearest
from flowctx.core.workflow.import_path import SHOWN_BY_DEBUG, import_workflow
from flowctx.core.workflow.named_workflows import named_workflows
from flowctx.ledger import default_ledger_url, strict_from_env
from flowctx.ledger.file_rights import file_of, lacking_in_file

if TYPE_CHECKING:
    from flowctx.core.engine_versions import Engine
    from flowctx.core.workflow.definition import Workflow

OK, WARNING, FAILED, NONE = "ok", "warning", "failed", "-"

#: The environment variables that flowctx reads.
SETTINGS = (
    "FLOWCTX_AIRFLOW_PASSWORD",
    "FLOWCTX_AIRFLOW_TOKEN",
    "FLOWCTX_AIRFLOW_URL",
    "FLOWCTX_AIRFLOW_USER",
    "FLOWCTX_ARTIFACTS_URL",
    "FLOWCTX_CACHE_DIR",
    "FLOWCTX_CALENDARS",
    "FLOWCTX_DAGSTER_LOCATION",
    "FLOWCTX_DAGSTER_URL",
    "FLOWCTX_LEDGER_MODE",
    "FLOWCTX_LEDGER_URL",
    "FLOWCTX_SECRET_NAMES",
)
#: Distributions without which something is missing, and what to install for it.
_PACKAGES = {
    "SQLAlchemy": "flowctx",
    "pyarrow": "'flowctx[tables]'",
    "numpy": "'flowctx[tables]'",
    "psycopg": "'flowctx[postgres]'",
    "exchange_calendars": "'flowctx[calendars]'",
}
#: Clocks of this machine and of the database may differ by this before it is said.
_LAG = timedelta(seconds=5)


class Check(NamedTuple):
    """One thing that was looked at."""

    #: What it is.
    what: str
    #: What was found; masked when it is shown.
    found: str | None
    #: ``ok``, ``warning``, ``failed``, or ``-`` for what is not there and need not be.
    state: str
    #: What to do about it, or what follows from it.
    note: str = ""


def packages() -> Iterator[Check]:
    """Yield Python, flowctx and the packages whose absence somebody might notice."""
    yield Check("Python", platform.python_version(), OK)
    yield Check("flowctx", version("flowctx"), OK)
    for name, install in _PACKAGES.items():
        try:
            yield Check(name, version(name), OK)
        except PackageNotFoundError:
            yield Check(name, None, NONE, f"not installed; pip install {install} brings it")


def engines() -> Iterator[tuple[Check, Engine | None]]:
    """Yield each engine, with its table of abilities where it is one that the adapter takes."""
    for extra, name in (("airflow", "Airflow"), ("dagster", "Dagster")):
        try:
            engine: Engine = getattr(importlib.import_module(f"flowctx.{extra}._versions"), name.upper())
        except MissingExtra:
            yield Check(name, None, NONE, f"not installed; pip install 'flowctx[{extra}]' brings it"), None
        except (FlowctxError, ImportError) as exc:
            yield Check(name, None, FAILED, str(exc)), None
        else:
            yield Check(name, engine.found, OK, "its version fits; it was not imported"), engine


def ledger_checks(ledger: Ledger | FlowctxError) -> Iterator[Check]:
    """Yield whether the ledger can be reached, its schema and its clock; nothing is made where nothing is."""
    if isinstance(ledger, FlowctxError):
        yield Check("ledger", None, FAILED, str(ledger))
        return
    place = str(getattr(ledger, "url", "memory://"))
    try:
        strict_from_env()
    except FlowctxError as exc:
        yield Check("ledger's mode", os.environ["FLOWCTX_LEDGER_MODE"], FAILED, str(exc))
    if isinstance(ledger, NotYetLedger):
        yield _not_yet(place)
        return
    from flowctx.ledger.sql import SqlLedger  # here, because SQLAlchemy is slow to import

    if not isinstance(ledger, SqlLedger):
        yield Check("ledger", place, WARNING, "it ends with this process: set FLOWCTX_LEDGER_URL")
        return
    try:
        revision = ledger.revision()
        found, here = ledger.now() if revision else None, datetime.now(UTC)
        lacking = ledger.lacking(has_tables=revision is not None)
    except FlowctxError as exc:
        yield Check("ledger", place, FAILED, str(exc))
        return
    if lacking is not None:
        yield Check("ledger", place, WARNING if lacking.harmless else FAILED, lacking.text)
    elif revision is None:
        yield Check("ledger", place, NONE, "reached; it has no tables yet: a first run makes them")
    else:
        yield Check("ledger", place, OK, f"schema {revision}")
    if found is None:
        return
    lag = found - here
    note = "leases and the times of captures go by the database's clock; set both clocks by NTP"
    late = abs(lag) > _LAG
    yield Check(
        "ledger's clock", f"{round(lag.total_seconds(), 1) or 0:+.1f} s", WARNING if late else OK, note if late else ""
    )


def _not_yet(place: str) -> Check:
    """Return whether a first run can make a ledger that is not there: a file."""
    file = file_of(place)
    if place == default_ledger_url():  # its folders are made, too
        file = next(one for one in (file, *file.parents) if one.parent.is_dir())
    lacking = lacking_in_file(file)
    if lacking is not None:
        return Check("ledger", place, FAILED, f"not there yet, and a first run cannot make it: {lacking.text}")
    return Check("ledger", place, NONE, "not there yet; a first run makes it")


def artifact_checks(ledger: Ledger | FlowctxError) -> Iterator[Check]:
    """Yield whether the store of tables, files and large outputs can be written, read and deleted from."""
    is_named = bool(os.environ.get("FLOWCTX_ARTIFACTS_URL"))
    is_open = not isinstance(ledger, NotYetLedger | FlowctxError)
    try:
        store = artifact_store(ledger if is_open or not is_named else None)
    except FlowctxError as exc:
        yield Check("artifacts", os.environ.get("FLOWCTX_ARTIFACTS_URL"), FAILED, str(exc))
        return
    if store is None or isinstance(store, MemoryArtifactStore):
        note = "nothing says where tables and large outputs go; set FLOWCTX_ARTIFACTS_URL, or each engine decides"
        yield Check("artifacts", None, NONE, note)
        return
    if not is_open and not is_named:
        yield Check("artifacts", store.shown, NONE, "not there yet; a first run makes it")
        return
    try:
        store.probe()
    except (FlowctxError, OSError) as exc:
        yield Check("artifacts", store.shown, FAILED, str(exc))
    else:
        yield Check("artifacts", store.shown, OK, "written, read and deleted")


def server_checks() -> Iterator[Check]:
    """Yield whether the engines' servers that the environment names can be reached with its credentials."""
    for extra, name in (("airflow", "Airflow"), ("dagster", "Dagster")):
        what, setting = f"{name}'s server", f"FLOWCTX_{name.upper()}_URL"
        url = os.environ.get(setting)
        if not url:
            yield Check(what, None, NONE, f"not asked; {setting} names none")
            continue
        try:
            launcher = importlib.import_module(f"flowctx.backfill.{extra}").launcher_from_env()
            yield Check(what, url, OK, f"version {launcher.server_version()}")
        except (FlowctxError, ValueError) as exc:  # a URL that is none
            yield Check(what, mask_text(url), FAILED, str(exc))


def settings() -> Iterator[Check]:
    """Yield what the environment sets, and names that flowctx does not read."""
    for name, value in sorted(os.environ.items()):
        if name in SETTINGS and not value:
            yield Check(name, None, NONE, "it is empty, which is as if it were not set")
        elif name in SETTINGS:
            shown = "***" if is_secret_name(name) else mask_text(value)
            yield _corrections(shown) if name == "FLOWCTX_CALENDARS" else Check(name, shown, OK)
        elif name.startswith("FLOWCTX_"):
            meant = nearest(name, SETTINGS)
            advice = f"; did you mean {meant[0]}?" if meant else ""
            yield Check(name, None, WARNING, f"flowctx reads no such setting{advice}")


def _corrections(shown: str) -> Check:
    """Return whether the file of corrections can be read, and each calendar that it names be corrected by it."""
    try:
        check_corrections()
    except FlowctxError as exc:
        return Check("FLOWCTX_CALENDARS", shown, FAILED, str(exc))
    return Check("FLOWCTX_CALENDARS", shown, OK)


def named() -> tuple[Mapping[str, str], list[Check]]:
    """Return the workflows that the project's pyproject.toml names, and a check if they cannot be read."""
    try:
        return named_workflows(), []
    except FlowctxError as exc:
        return {}, [Check("[tool.flowctx]", None, FAILED, str(exc))]


def calendar_row(target: str, import_path: str) -> Mapping[str, Any]:
    """Return how long the calendar of a workflow is known, or why that cannot be said."""
    row: dict[str, Any] = dict.fromkeys(("calendar", "version", "known_until", "days_left", "note"))
    row |= {"workflow": target, "ended": False, "failed": False}
    try:
        workflow = import_workflow(import_path)
        return row | {"workflow": workflow.name} | _calendar(workflow)
    except FlowctxError as exc:
        return row | {"failed": True, "note": str(exc).removesuffix(SHOWN_BY_DEBUG)}  # this row ends no command


def _calendar(workflow: Workflow) -> dict[str, Any]:
    now = datetime.now(UTC)
    cadence = workflow.partitions.cadence if workflow.partitions is not None else None
    if cadence is None:
        return {"note": "no dates"}
    calendar, known, end = cadence.business_calendar, cadence.known_until, calendar_end(cadence, now)
    left = None if known is None else (known - now.astimezone(cadence.zone).date()).days
    return {
        "calendar": calendar.name,
        "version": calendar.version,
        "known_until": None if known is None else known.isoformat(),
        "days_left": left,
        "ended": end is not None and end.ended,
        "note": "ok" if end is None else str(end),
    }
