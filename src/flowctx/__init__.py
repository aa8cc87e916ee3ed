"""Write a data workflow once, as plain functions of a context; run it on Airflow, on Dagster, or right here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowctx.core.data.files import File, set_file_library
from flowctx.core.data.plain import ArtifactRef, thaw
from flowctx.core.data.tables import Table, set_table_library
from flowctx.core.dates.cadence import Daily, Hourly, Monthly, Quarterly, Weekly, Window, Yearly
from flowctx.core.dates.calendar import EVERY_DAY, WEEKDAYS, BusinessCalendar, get_calendar, set_calendar_loader
from flowctx.core.errors import (
    AlreadyCaptured,
    ArtifactError,
    ArtifactRefused,
    ArtifactUnavailable,
    BatchError,
    CalendarError,
    CaptureHeld,
    CaptureRefused,
    ContextConflict,
    ContextError,
    EngineError,
    EngineUnavailable,
    FlowctxError,
    InputMissing,
    LedgerError,
    LedgerUnavailable,
    LedgerVersionError,
    MissingDimension,
    MissingExtra,
    MissingKey,
    NoLedger,
    NotDue,
    OutputTooLarge,
    PartitionError,
    PayloadError,
    PayloadVersionError,
    PlainDataError,
    ReadOnlyError,
    RunAlive,
    RunExists,
    RunFailed,
    Superseded,
    UnknownBatch,
    UnknownPartition,
    UnknownRun,
    UnsupportedEngine,
    VersionGone,
    WorkflowChanged,
    WorkflowError,
)
from flowctx.core.lazy_names import lazy_names
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.partitions.selection import Selection
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import RetryPolicy, Step, Workflow
from flowctx.core.workflow.inputs import Input
from flowctx.core.workflow.result import ErrorCategory, QualityMetrics, StepResult, StepStatus

if TYPE_CHECKING:
    from flowctx.backfill import Backfill, BatchStatus
    from flowctx.backfill.call import backfill
    from flowctx.calendars import calendar_from_file
    from flowctx.core.workflow.business_date import AsOf
    from flowctx.core.workflow.outputs import Outputs
    from flowctx.core.workflow.run_result import RunResult, StepRun
    from flowctx.local import replay, resume, run
    from flowctx.local.reading import read_input
    from flowctx.versions import Differences, StalePartition, VersionChoice, diff, outputs, stale

__all__ = [
    "EVERY_DAY",
    "WEEKDAYS",
    "AlreadyCaptured",
    "ArtifactError",
    "ArtifactRef",
    "ArtifactRefused",
    "ArtifactUnavailable",
    "AsOf",
    "Backfill",
    "BatchError",
    "BatchStatus",
    "BusinessCalendar",
    "CalendarError",
    "CaptureHeld",
    "CaptureRefused",
    "CheckpointState",
    "ContextConflict",
    "ContextError",
    "Daily",
    "Differences",
    "EngineError",
    "EngineUnavailable",
    "ErrorCategory",
    "File",
    "FlowctxError",
    "Hourly",
    "Input",
    "InputMissing",
    "LedgerError",
    "LedgerUnavailable",
    "LedgerVersionError",
    "MissingDimension",
    "MissingExtra",
    "MissingKey",
    "Monthly",
    "NoLedger",
    "NotDue",
    "OutputTooLarge",
    "Outputs",
    "PartitionError",
    "PartitionKey",
    "PartitionScheme",
    "PayloadError",
    "PayloadVersionError",
    "PlainDataError",
    "QualityMetrics",
    "Quarterly",
    "ReadOnlyError",
    "RetryPolicy",
    "RunAlive",
    "RunExists",
    "RunFailed",
    "RunResult",
    "Selection",
    "StalePartition",
    "Step",
    "StepResult",
    "StepRun",
    "StepStatus",
    "Superseded",
    "Table",
    "UnknownBatch",
    "UnknownPartition",
    "UnknownRun",
    "UnsupportedEngine",
    "VersionChoice",
    "VersionGone",
    "Weekly",
    "Window",
    "Workflow",
    "WorkflowChanged",
    "WorkflowContext",
    "WorkflowError",
    "Yearly",
    "backfill",
    "calendar_from_file",
    "diff",
    "get_calendar",
    "outputs",
    "read_input",
    "replay",
    "resume",
    "run",
    "stale",
    "thaw",
]


def _otherwise(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("flowctx")
    if name == "backfill":  # a package that can be called
        return import_module("flowctx.backfill")
    raise AttributeError(f"module 'flowctx' has no attribute {name!r}")


__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AsOf": "flowctx.core.workflow.business_date",
        "Backfill": "flowctx.backfill",
        "BatchStatus": "flowctx.backfill",
        "Differences": "flowctx.versions",
        "Outputs": "flowctx.core.workflow.outputs",
        "RunResult": "flowctx.core.workflow.run_result",
        "StalePartition": "flowctx.versions",
        "StepRun": "flowctx.core.workflow.run_result",
        "VersionChoice": "flowctx.core.durability.version_choice",
        "calendar_from_file": "flowctx.calendars",
        "diff": "flowctx.versions",
        "outputs": "flowctx.versions",
        "read_input": "flowctx.local.reading",
        "replay": "flowctx.local",
        "resume": "flowctx.local",
        "run": "flowctx.local",
        "stale": "flowctx.versions",
    },
    otherwise=_otherwise,
)


def _load_calendar(name: str) -> BusinessCalendar:
    from flowctx.calendars import load_calendar

    return load_calendar(name)


@cache
def _load_tables() -> Any:
    from flowctx.core.extras import needs

    with needs("a table in an output", "tables"):
        from flowctx.artifacts.library import ArrowTables
    return ArrowTables()


@cache
def _load_files() -> Any:
    from flowctx.artifacts.opening import StoredFiles

    return StoredFiles()


set_calendar_loader(_load_calendar)
set_table_library(_load_tables)
set_file_library(_load_files)
