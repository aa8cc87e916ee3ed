"""WorkflowContext: who runs, when, and with what; immutable, and handed through every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from uuid import uuid4

from flowctx.core.data.plain import EMPTY, FrozenDict
from flowctx.core.data.secrets import without_secrets
from flowctx.core.dates.zones import Window
from flowctx.core.errors import ContextError, FlowctxError, PayloadError
from flowctx.core.html_tables import brief, table
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import brief as shorten
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.checkpoint import CheckpointState
from flowctx.core.workflow.context_dates import DUE, WINDOW, read_due, read_window
from flowctx.core.workflow.context_fields import as_date, as_dict, as_partition, as_utc
from flowctx.core.workflow.context_payload import (
    FORMAT_VERSION,
    check_version,
    decode_payload,
    encode_payload,
    payload_of,
    read_bytes,
    read_fields,
)
from flowctx.core.workflow.known_steps import warn_of_no_step


def _new_id() -> str:
    return str(uuid4())


def engine_of(ctx: WorkflowContext) -> Mapping[str, Any]:
    """Return what the metadata of a context has of the engine; nothing where it has none, or no dict."""
    found = ctx.metadata.get("engine")
    return found if isinstance(found, Mapping) else {}


def _now() -> datetime:
    return datetime.now(UTC)


@lru_cache(maxsize=256)  # the steps of a workflow are few, and each context has them
def _output_of(step_name: str) -> str:
    return f"the output of step {step_name!r}"


@dataclass(frozen=True)
class WorkflowContext:
    """What flows through every step of a workflow: identity, parameters, prior outputs, the business date.

    It is immutable: ``with_...`` methods and :func:`dataclasses.replace` return new contexts that share what did
    not change, and changing ``params``, ``step_outputs`` or ``metadata`` in place raises a ``TypeError``.

    Args:
        run_id: Unique id of this run; on an engine, the engine's own.
        trace_id: Id for distributed tracing; the caller may set it.
        batch_id: Groups runs that belong together, such as a backfill.
        started_at: When the run started: timezone-aware, kept in UTC.
        params: What the caller passed, with the updates of the steps so far.
        step_outputs: The outputs of the steps before this one, by step name.
        metadata: What the system says: the engine and its identifiers, the calendar and its version.
        checkpoint: How far a resumed run had come.
        partition: The partition key this run is for.
        as_of_date: The business date this run is about; never the time at which it runs.
        capture_id: Names this version of the partition's outputs.
        idempotency_key: The same for every run that asks for the same thing.

    Raises:
        ContextError: A field of the wrong type, or a ``started_at`` without a time zone.
        PlainDataError: Something in ``params``, ``step_outputs`` or ``metadata`` is no plain data.

    Example:
        >>> ctx = WorkflowContext.new(params={"symbol": "AAPL"}, partition={"date": "2026-01-10"})
        >>> ctx.with_updates({"n": 1}).params
        {'symbol': 'AAPL', 'n': 1}
    """

    run_id: str = field(default_factory=_new_id)
    trace_id: str = field(default_factory=_new_id)
    batch_id: str | None = None
    started_at: datetime = field(default_factory=_now)
    params: Mapping[str, Any] = field(default_factory=FrozenDict)
    step_outputs: Mapping[str, Any] = field(default_factory=FrozenDict)
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    checkpoint: CheckpointState | None = None
    partition: PartitionKey | None = None
    as_of_date: date | None = None
    capture_id: str | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        values = self.__dict__
        for name in ("params", "step_outputs", "metadata"):
            value = values[name]
            if not isinstance(value, FrozenDict):
                object.__setattr__(self, name, as_dict(value, name))
        for name in ("run_id", "trace_id"):
            value = values[name]
            if not isinstance(value, str) or not value:
                raise ContextError(f"{name}={value!r} must be text and not empty")
        for name in ("batch_id", "capture_id", "idempotency_key"):
            value = values[name]
            if value is not None and (not isinstance(value, str) or not value):
                raise ContextError(f"{name}={value!r} must be text and not empty, or None")
        started_at = values["started_at"]
        if type(started_at) is not datetime or started_at.tzinfo is not UTC:
            object.__setattr__(self, "started_at", as_utc(started_at))
        if self.partition is not None and not isinstance(self.partition, PartitionKey):
            raise ContextError(f"partition={self.partition!r} must be a PartitionKey; use PartitionKey(**dims)")
        if self.as_of_date is not None and type(self.as_of_date) is not date:
            object.__setattr__(self, "as_of_date", as_date(self.as_of_date))
        if self.checkpoint is not None and not isinstance(self.checkpoint, CheckpointState):
            raise ContextError(f"checkpoint={self.checkpoint!r} must be a CheckpointState")

    # --- making and changing -------------------------------------------------------------------------------------

    @classmethod
    def _of(cls, values: dict[str, Any]) -> WorkflowContext:
        """Return a context of all its fields, which are checked: one dict takes less than to set them one by one."""
        object.__setattr__(new := object.__new__(cls), "__dict__", values)
        new.__post_init__()
        return new

    @classmethod
    def new(
        cls,
        params: Mapping[str, Any] | None = None,
        batch_id: str | None = None,
        trace_id: str | None = None,
        partition: Mapping[str, Any] | None = None,
        as_of_date: date | None = None,
    ) -> WorkflowContext:
        """Create a fresh context with a new run id.

        Args:
            params: Parameters for the steps.
            batch_id: Groups related runs.
            trace_id: An id of the caller's; otherwise a new one.
            partition: Dimension names and values, or a :class:`PartitionKey`.
            as_of_date: The business date.

        Raises:
            ContextError, PartitionError, PlainDataError: As for the fields.

        Example:
            >>> WorkflowContext.new(partition={"date": "2026-01-10", "tier": "OTC"}).partition.tier
            'OTC'
        """
        return cls(
            params=EMPTY if params is None else params,
            batch_id=batch_id,
            trace_id=trace_id or _new_id(),
            partition=as_partition(partition) if partition else None,
            as_of_date=as_of_date,
        )

    def with_step_output(self, step_name: str, output: Mapping[str, Any] | None) -> WorkflowContext:
        """Return a new context with the output of a completed step added.

        Args:
            step_name: Name of the step.
            output: Its output; ``None`` counts as empty.

        Raises:
            PlainDataError: The output is no dict of plain data.

        Example:
            >>> WorkflowContext.new().with_step_output("fetch", {"rows": 3}).get_output("fetch", "rows")
            3
        """
        if not isinstance(step_name, str) or not step_name:
            raise ContextError(f"step_name={step_name!r} must be the name of a step")
        frozen = EMPTY if output is None else as_dict(output, _output_of(step_name))
        before: Any = self.step_outputs  # __post_init__ made it a FrozenDict
        return self._with(step_outputs=before.plus(step_name, frozen))

    def with_updates(self, updates: Mapping[str, Any] | None) -> WorkflowContext:
        """Return a new context with ``updates`` merged into ``params``; this one if there are none.

        Raises:
            PlainDataError: An update is no plain data.

        Example:
            >>> WorkflowContext.new(params={"a": 1}).with_updates({"b": 2}).params
            {'a': 1, 'b': 2}
        """
        if not updates:
            return self
        before: Any = self.params  # __post_init__ made it a FrozenDict
        return self._with(params=before.merged(as_dict(updates, "updates")))

    def with_partition(self, **dims: object) -> WorkflowContext:
        """Return a new context for the partition ``dims``.

        Raises:
            PartitionError: The dimensions cannot be a partition key.

        Example:
            >>> str(WorkflowContext.new().with_partition(venue="NYSE", date="2026-01-10").partition)
            'date=2026-01-10|venue=NYSE'
        """
        return self._with(partition=PartitionKey(**dims))

    def _with(self, **checked: Any) -> WorkflowContext:
        """Return a new context with fields that need no further check."""
        new = object.__new__(type(self))
        values = new.__dict__
        values.update(self.__dict__)
        values.update(checked)
        return new

    # --- looking -------------------------------------------------------------------------------------------------

    @property
    def key(self) -> PartitionKey:
        """The partition key, where a step cannot do without one.

        Raises:
            ContextError: The run has no partition.

        Example:
            >>> WorkflowContext.new(partition={"date": "2026-01-10", "tier": "OTC"}).key.tier
            'OTC'
        """
        if self.partition is None:
            raise ContextError(
                f"run {self.run_id} has no partition, and something in it asked for ctx.key; "
                "run it for a partition, or look at ctx.partition, which may be None"
            )
        return self.partition

    @property
    def window(self) -> Window:
        """The half-open interval ``[start, end)`` of data that the run is about, in its cadence's or schedule's zone.

        Raises:
            ContextError: The run has none, or its partition was changed after it began.

        Example:
            >>> from flowctx import Daily, PartitionScheme, Workflow, run
            >>> scheme = PartitionScheme(date=Daily(start="2012-01-03", timezone="America/New_York"))
            >>> prices = Workflow("prices", partitions=scheme)
            >>> @prices.step()
            ... def load(ctx):
            ...     return {"from": str(ctx.window.start), "due": str(ctx.due)}
            >>> dict(run(prices, partition="2012-01-03", ledger=None).context.step_outputs["load"])
            {'from': '2012-01-03 00:00:00-05:00', 'due': '2012-01-04 00:00:00-05:00'}
        """
        return read_window(self._dated(WINDOW))

    @property
    def due(self) -> datetime:
        """When the partition was due, in its cadence's zone.

        Raises:
            ContextError: The run has no partition with a date, or its partition was changed after it began.
        """
        return read_due(self._dated(DUE))

    def _dated(self, name: str) -> Mapping[str, Any]:
        stored = self.metadata.get(name)
        if isinstance(stored, Mapping) and stored.get("partition") == str(self.partition or ""):
            return stored
        raise ContextError(
            f"run {self.run_id} of partition {self.partition} has no {name}, and something in it asked for ctx.{name}; "
            "run a workflow whose scheme has a cadence for one of its partitions, or give workflow_context(scheme=...) "
            "(a run that an older flowctx began has none)"
        )

    def get_output(self, step_name: str, key: str | None = None, default: Any = None) -> Any:
        """Return the output of a prior step, or one value of it.

        Args:
            step_name: Name of the step.
            key: A key within its output; all of the output if ``None``.
            default: What to return if the step has no output (or an empty one), or the output no such key.

        A step that the workflow does not have has none either; the log then says which one may have been meant.

        Example:
            >>> WorkflowContext.new().get_output("fetch", "record_count", 0)
            0
        """
        output = self.step_outputs.get(step_name)
        if not output:
            if step_name not in self.step_outputs:
                warn_of_no_step(step_name)
            return default
        return output if key is None else output.get(key, default)

    def get_param(self, key: str, default: Any = None) -> Any:
        """Return a parameter, or ``default`` if there is none of that name."""
        return self.params.get(key, default)

    # --- storing -------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a new JSON-ready dict, with the version of the format.

        Example:
            >>> import json
            >>> ctx = WorkflowContext.new(as_of_date=date(2026, 1, 10))
            >>> WorkflowContext.from_dict(json.loads(json.dumps(ctx.to_dict()))) == ctx
            True
        """
        return payload_of(vars(self))

    def to_bytes(self) -> bytes:
        """Return all fields as JSON: what :meth:`to_dict` returns, encoded. It takes a fraction of the time.

        An output or metadata that nobody has looked at since :meth:`from_bytes` is passed on as it came.

        Example:
            >>> ctx = WorkflowContext.new(params={"symbol": "AAPL"})
            >>> WorkflowContext.from_bytes(ctx.to_bytes()) == ctx
            True
        """
        return encode_payload(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkflowContext:
        """Rebuild a context from :meth:`to_dict`, or from the older payload that has no version.

        Args:
            data: The dict, as ``json.loads`` returns it. Fields that this version does not know are ignored.

        Raises:
            PayloadVersionError: It was written in a newer major version of the format.
            PayloadError: Something is missing or damaged; the message names the field.
        """
        if not isinstance(data, Mapping):
            raise PayloadError(f"a context payload is a dict, not {a_kind(data)}; read it with json.loads first")
        version = data.get("format_version")
        if version is not None and version != FORMAT_VERSION:
            check_version(version, FORMAT_VERSION, "context")
        missing = [name for name in ("run_id", "trace_id", "started_at") if not data.get(name)]
        if missing:
            raise PayloadError(f"the context payload has no {' and no '.join(missing)}; is it a context?")
        try:
            return cls(**read_fields(data, _NAMES, tagged=version is not None))
        except PayloadError:
            raise
        except (FlowctxError, AttributeError, OverflowError, TypeError, ValueError) as exc:
            raise PayloadError(f"the context payload is damaged: {shorten(str(exc))}") from exc

    @classmethod
    def from_bytes(cls, data: bytes | str) -> WorkflowContext:
        """Rebuild a context from :meth:`to_bytes`, or from any JSON of :meth:`to_dict`.

        What is damaged is refused here; outputs and metadata become dicts when they are first looked at.

        Args:
            data: The JSON.

        Raises:
            PayloadVersionError: It was written in a newer major version of the format.
            PayloadError: It is no JSON, or something is missing or damaged; the message names the field.
        """
        checked = read_bytes(data)
        if checked is None:
            return cls.from_dict(decode_payload(data))
        new = object.__new__(cls)
        object.__setattr__(new, "__dict__", checked)
        return new

    def _repr_html_(self) -> str:
        facts = {f.name: getattr(self, f.name) for f in fields(self)}
        facts["step_outputs"] = ", ".join(self.step_outputs)
        rows = [(name, dict(without_secrets(v)) if isinstance(v, FrozenDict) else v) for name, v in facts.items() if v]
        return table("context", ("field", "value"), rows)

    def __repr__(self) -> str:
        facts: dict[str, object] = {
            "partition": str(self.partition) if self.partition else None,
            "as_of_date": self.as_of_date.isoformat() if self.as_of_date else None,
            "batch_id": self.batch_id,
            "capture_id": self.capture_id,
            "params": brief(dict(without_secrets(self.params))) if self.params else None,
            "outputs of": ", ".join(self.step_outputs) or None,
        }
        shown = "".join(f", {name} {value}" for name, value in facts.items() if value is not None)
        return f"<WorkflowContext of run {self.run_id}{shown}>"

    def __copy__(self) -> WorkflowContext:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> WorkflowContext:
        return self


_NAMES = tuple(f.name for f in fields(WorkflowContext))
