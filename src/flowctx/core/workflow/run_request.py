"""RunRequest: all that a caller may say of a run beside its parameters, in one place for every engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.data.plain import freeze
from flowctx.core.dates.parsing import iso_date
from flowctx.core.errors import ContextError, FlowctxError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme

#: What to do when the partition is captured already: make a new revision, or leave it at that.
OnCaptured: TypeAlias = Literal["recapture", "skip"]

#: Namespace of our run tags on Dagster.
TAG_PREFIX = "flowctx/"
#: An id stands in ids of runs, tags and names of files.
_LONGEST_BATCH_ID = 100


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a caller says of a run: who it is, and how it goes on.

    On Airflow these are keys of the run's ``conf``, on Dagster run tags (``flowctx/batch_id``), here arguments. No
    parameter of a workflow may have one of their names (:data:`RESERVED_NAMES`).

    Raises:
        ContextError: A value that cannot be; the message names it.

    Example:
        >>> request = RunRequest(batch_id="restate", as_of_date=date(2012, 10, 26))
        >>> request.to_conf()
        {'batch_id': 'restate', 'as_of_date': '2012-10-26'}
        >>> RunRequest.parse(request.to_conf().get) == request
        True
    """

    #: The batch that the run belongs to.
    batch_id: str | None = None
    #: An id for tracing.
    trace_id: str | None = None
    #: The partition key; text is read by the scheme, which knows the order of the dimensions.
    partition: PartitionKey | str | None = None
    #: The business date, where no partition says it.
    as_of_date: date | None = None
    #: Names the version of the outputs, where it is not to be derived.
    capture_id: str | None = None
    #: The same for every run that asks for the same thing, where it is not to be derived.
    idempotency_key: str | None = None
    #: The id of a run, of any engine, that this one continues.
    resume_from: str | None = None
    #: With ``resume_from``: a step that runs again although it is complete, with all that follow it.
    from_step: str | None = None
    #: With ``resume_from``: keep what complete steps recorded although the workflow has changed since.
    accept_changes: bool = False
    #: With ``resume_from``: go on although somebody is at that run, who is refused its next write then.
    take_over: bool = False
    #: What to do when the partition is captured already.
    on_captured: OnCaptured = "recapture"
    #: Configuration of steps, by step, on top of what the workflow says.
    step_config: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        values = self.__dict__
        for name, default in _DEFAULTS.items():
            value = values[name]
            if value is not default and not (type(value) is str and value and name in _TEXTS):
                object.__setattr__(self, name, read_value(name, value))
        for name in () if self.resume_from else ("from_step", "take_over", "accept_changes"):
            if values[name]:
                raise ContextError(f"{name}={values[name]!r} is for a run that continues another; add resume_from")

    @classmethod
    def parse(cls, get: Callable[[str], Any], where: str = "") -> RunRequest:
        """Read a request from text or JSON.

        Args:
            get: Returns the value of a name, or ``None``.
            where: What to call the place in an error, such as ``conf``.

        Raises:
            ContextError: A value that cannot be.
            PartitionError: The dimensions cannot be a partition key.

        Example:
            >>> RunRequest.parse({"resume_from": "run-1", "accept_changes": "true"}.get).accept_changes
            True
        """
        return cls(**{name: read_value(name, get(name), where) for name in RESERVED_NAMES})

    def to_conf(self) -> dict[str, Any]:
        """Return what is said, as JSON for the ``conf`` of an Airflow run."""
        conf: dict[str, Any] = {}
        for name, value in self._items():
            if isinstance(value, PartitionKey):
                conf[name] = value.to_dict()
            elif name == "step_config":
                conf[name] = to_json(value)
            else:
                conf[name] = value.isoformat() if isinstance(value, date) else value
        return conf

    def to_tags(self) -> dict[str, str]:
        """Return what is said, as tags of a Dagster run.

        Example:
            >>> RunRequest(partition=PartitionKey(tier="OTC"), resume_from="r", accept_changes=True).to_tags()
            {'flowctx/partition': 'tier=OTC', 'flowctx/resume_from': 'r', 'flowctx/accept_changes': 'true'}
        """
        return {TAG_PREFIX + name: _tag(value) for name, value in self._items()}

    def _items(self) -> Iterable[tuple[str, Any]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                yield field.name, value

    def partition_key(self, scheme: PartitionScheme | None) -> PartitionKey | None:
        """Return the partition key, its text read by the scheme if there is one.

        Raises:
            PartitionError: The text is no key.
        """
        if not isinstance(self.partition, str):
            return self.partition
        return PartitionKey.parse(self.partition) if scheme is None else scheme.parse(self.partition)


def batch_id_problem(batch_id: object) -> str | None:
    """Return what is wrong with the id of a batch, of a single run as of a backfill; ``None`` if nothing is.

    Example:
        >>> batch_id_problem("restate-2012") is None, batch_id_problem(7)
        (True, "batch_id=7 must be text of 1 to 100 printable characters, such as 'restate-2012'")
    """
    if isinstance(batch_id, str) and batch_id.strip() and len(batch_id) <= _LONGEST_BATCH_ID and batch_id.isprintable():
        if batch_id == batch_id.strip():
            return None
        return f"batch_id={batch_id!r} has blanks around it, with which it looks like another; leave them out"
    shown = repr(batch_id) if len(repr(batch_id)) <= _LONGEST_BATCH_ID else f"{repr(batch_id)[:40]}…"
    return f"batch_id={shown} must be text of 1 to {_LONGEST_BATCH_ID} printable characters, such as 'restate-2012'"


def check_param_names(params: Iterable[str]) -> None:
    """Refuse parameters whose names say who a run is: an engine would take them for that.

    Raises:
        ContextError: There are some; the message names them.
    """
    reserved = sorted(set(RESERVED_NAMES) & set(params))
    if reserved:
        raise ContextError(
            f"params has {', '.join(reserved)}, which say who the run is; pass them as arguments of their own"
        )


def _tag(value: Any) -> str:
    if isinstance(value, Mapping) and not isinstance(value, PartitionKey):
        return json.dumps(to_json(value))
    return "true" if value is True else str(value)


def _step_config(value: Any, name: str) -> Mapping[str, Any] | None:
    """Read the configuration of steps: an object of objects, or its text in JSON, as in a tag."""
    if value is None:
        return None
    found: Any = None
    with suppress(json.JSONDecodeError, FlowctxError):
        found = _plain(json.loads(value) if isinstance(value, str) else value, name)
    if isinstance(found, Mapping) and all(isinstance(values, Mapping) for values in found.values()):
        return found or None
    raise ContextError(f"{name} is {value!r}; it must be an object of steps, such as {{'validate': {{'limit': 3}}}}")


def _plain(value: Any, name: str) -> Any:
    """Return JSON with its tagged values read; what is no JSON is a value of Python's."""
    try:
        return from_json(value, name)
    except FlowctxError:
        return freeze(value, name)


def read_value(name: str, value: Any, where: str = "") -> Any:
    """Return what is said of a run under one of the reserved names, read from text or JSON.

    Args:
        name: The name.
        value: What is said.
        where: What to call the place in an error, such as ``conf``.

    Raises:
        ContextError: A value that cannot be.

    Example:
        >>> read_value("as_of_date", "2012-10-26")
        datetime.date(2012, 10, 26)
    """
    read: Callable[[Any, str], Any] = _READERS.get(name, _text)
    return read(value, f"{where}[{name!r}]" if where else name)


def _text(value: Any, name: str) -> str | None:
    return value if isinstance(value, str) and value else read_text(value, name)


def read_text(value: Any, name: str) -> str | None:
    """Return a text that was given, or ``None`` where none was: an empty one is of a variable that was never set.

    Args:
        value: What was given.
        name: What it was given as.

    Raises:
        ContextError: It is empty, or no text.

    Example:
        >>> read_text("s3://bucket/outputs", "base_path")
        's3://bucket/outputs'
    """
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise ContextError(f"{name} is {value!r}; it must be text and not empty: leave it out if there is none")


def _partition(value: Any, name: str) -> PartitionKey | str | None:
    if isinstance(value, str):
        return read_text(value, name)
    if value is None or isinstance(value, PartitionKey):
        return value
    if isinstance(value, Mapping):
        return PartitionKey(**value)
    raise ContextError(
        f"{name} is {value!r}; it must be an object of dimensions, such as {{'date': '2012-10-26'}}, or text"
    )


def read_date(value: Any, name: str = "as_of_date") -> date | None:
    """Return a business date that the caller gives as a date or as text.

    Args:
        value: A date, its text in ISO 8601, or ``None``.
        name: What to call it in an error.

    Raises:
        ContextError: It is neither.

    Example:
        >>> read_date("2012-10-26")
        datetime.date(2012, 10, 26)
    """
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    found = iso_date(value) if isinstance(value, str) else None
    if found is None:
        raise ContextError(f"{name} is {value!r}; write it as YYYY-MM-DD, such as '2012-10-26'")
    return found


def _bool(value: Any, name: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    if value in ("true", "false"):
        return bool(value == "true")
    raise ContextError(f"{name} is {value!r}; it must be 'true' or 'false'")


def _on_captured(value: Any, name: str) -> str:
    if value is None:
        return "recapture"
    if isinstance(value, str) and value in get_args(OnCaptured):
        return value
    raise ContextError(f"{name} is {value!r}; it must be {' or '.join(map(repr, get_args(OnCaptured)))}")


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "partition": _partition,
    "as_of_date": read_date,
    "accept_changes": _bool,
    "take_over": _bool,
    "on_captured": _on_captured,
    "step_config": _step_config,
}

#: The names that no parameter may have.
RESERVED_NAMES = tuple(field.name for field in fields(RunRequest))
_DEFAULTS = {field.name: field.default for field in fields(RunRequest)}
#: Those that are text as it stands.
_TEXTS = frozenset(RESERVED_NAMES) - frozenset(_READERS)

#: The key of ``conf`` by which Airflow's ``TriggerDagRunOperator`` tells OpenLineage which run started another.
_LINEAGE: Final = "openlineage"
#: How keys of ``conf`` begin that are Airflow's own, such as ``airflow/task_span_detail_level``.
_OF_AIRFLOW: Final = "airflow/"


def is_no_param(name: str) -> bool:
    """Return whether what a run was given by a name is no parameter, unless the workflow declares one of that name.

    Example:
        >>> is_no_param("batch_id"), is_no_param("airflow/task_span_detail_level"), is_no_param("limit")
        (True, True, False)
    """
    return name in RESERVED_NAMES or name == _LINEAGE or name.startswith(_OF_AIRFLOW)


#: A run of which its caller says nothing.
NO_REQUEST = RunRequest()
