"""Input: an output of another partition or workflow that a step declares it reads; and what cannot be one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from flowctx.core.errors import PartitionError, WorkflowError
from flowctx.core.partitions.key import PartitionKey, dimension_value
from flowctx.core.partitions.mapping import PartitionMapping
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.suggestions import did_you_mean


class Reader(Protocol):
    """What is asked of a step: its function, and what it reads."""

    @property
    def function(self) -> Callable[..., Any]:
        """Its function."""

    @property
    def inputs(self) -> Mapping[str, Input]:
        """What it reads, by the name of the argument."""


class Source(Protocol):
    """What is asked of a workflow that is read, or reads."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def partitions(self) -> PartitionScheme | None:
        """Its partitions."""

    @property
    def steps(self) -> Mapping[str, Reader]:
        """Its steps by name."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Input:
    """An output of another partition or workflow that a step reads; made by :meth:`Workflow.output`.

    Dimensions that both workflows have are equal; of a cadence, the dates are read whose windows lie in this one's
    window; dimensions that only the other workflow has are read whole.

    Example:
        >>> from flowctx import Daily, PartitionScheme, Workflow
        >>> nav = Workflow("nav", partitions=PartitionScheme(date=Daily(start="2026-01-02"), fund=["A", "B"]))
        >>> @nav.step(inputs={"yesterday": nav.output("value").previous()})
        ... def value(ctx, *, yesterday):
        ...     return {"nav": 100.0 if yesterday is None else yesterday["nav"] * 1.01}
        >>> nav.output(value).previous(20)
        <Input: value of nav, the 20 dates before>
    """

    #: The workflow that is read.
    workflow: Source
    #: The step whose output it is, by name or as its function.
    step: str | Callable[..., Any]
    #: Instead of the dates in the window, so many before it.
    back: int = 0
    #: Whether several partitions are asked for, although the schemes say that there is one.
    several: bool = False
    #: Values of dimensions, instead of what the rule says of them.
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Whether what is missing is left out.
    is_optional: bool = False
    _mappings: dict[int, tuple[PartitionScheme | None, PartitionMapping]] = field(default_factory=dict)

    def previous(self, n: int | None = None) -> Input:
        """Read the dates before the run's own instead of its own.

        Args:
            n: The last ``n`` dates, as :class:`Outputs`; ``None``: the one before, as its output, or ``None`` on the
                first date. They are dates of the workflow that is read, and end before the run's window starts.

        Raises:
            WorkflowError: ``n`` is less than 1.
        """
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise WorkflowError(f".previous({n!r}): pass how many dates to go back, such as .previous(20)")
        return replace(self, back=n or 1, several=n is not None, _mappings={})

    def where(self, **values: object) -> Input:
        """Read these values of static dimensions, instead of the run's own or all of them.

        Args:
            **values: For a dimension of the workflow that is read, a value or a list of values.

        Raises:
            WorkflowError: A dimension without values.
        """
        chosen = {name: _values(name, value) for name, value in values.items()}
        return replace(self, values={**self.values, **chosen}, _mappings={})

    def optional(self) -> Input:
        """Leave out what is not there, or pass ``None``, instead of failing; a skipped one is then ``None``, too."""
        return replace(self, is_optional=True, _mappings={})

    @property
    def step_name(self) -> str:
        """The name of the step that is read.

        Raises:
            WorkflowError: The workflow has no such step, or the function is several of its steps.
        """
        steps = self.workflow.steps
        if not isinstance(self.step, str):
            found = step_of(self.workflow, self.step)
            if found is not None:
                return found
        elif self.step in steps:
            return self.step
        shown = self.step if isinstance(self.step, str) else getattr(self.step, "__name__", repr(self.step))
        hint = did_you_mean(shown, steps, f"it has {', '.join(steps) or 'none'}")
        raise WorkflowError(f"workflow {self.workflow.name!r} has no step {shown!r}; {hint}")

    def mapping(self, reader: PartitionScheme | None) -> PartitionMapping | None:
        """Return which partitions are read for a partition of the reader; ``None`` if there are none to choose from.

        Raises:
            PartitionError: There is no such mapping.
        """
        scheme = self.workflow.partitions
        if scheme is None:
            if self.back or self.values:
                raise PartitionError("it has no partitions; leave out .previous() and .where()")
            return None
        known = self._mappings.get(id(reader))
        if known is None:
            made = PartitionMapping(scheme, reader, previous=self.back, where=self.values)
            known = self._mappings[id(reader)] = (reader, made)  # with the reader, so that its id stays its own
        return known[1]

    def is_single(self, reader: PartitionScheme | None) -> bool:
        """Whether it arrives as one output, rather than as :class:`Outputs`."""
        mapping = self.mapping(reader)
        return not self.several and (mapping is None or mapping.one)

    def partitions(self, reader: PartitionScheme | None, key: PartitionKey | None) -> Sequence[PartitionKey | None]:
        """Return the partitions that are read for a key of the reader."""
        mapping = self.mapping(reader)
        return (None,) if mapping is None else mapping.keys(key)

    def lacking(
        self, reader: PartitionScheme | None, key: PartitionKey | None, keys: Sequence[PartitionKey | None]
    ) -> str | None:
        """Return why the workflow that is read has no partition for a key of the reader, if it is to have one.

        Args:
            reader: The partitions of the reader.
            key: One of them.
            keys: What :meth:`partitions` returns for it.
        """
        mapping = self.mapping(reader)
        if self.is_optional or mapping is None:
            return None
        why = mapping.lacking(key)
        if why is None and not self.back and self.is_single(reader) and not keys:
            return "its dates do not reach there"
        return why

    def __repr__(self) -> str:
        shown = self.step if isinstance(self.step, str) else getattr(self.step, "__name__", repr(self.step))
        dates = f", the {self.back} dates before" if self.several else ", the date before" if self.back else ""
        values = "".join(f", {name}={'|'.join(some)}" for name, some in self.values.items())
        return f"<Input: {shown} of {self.workflow.name}{dates}{values}{', optional' if self.is_optional else ''}>"


def step_of(workflow: Source, function: Callable[..., Any]) -> str | None:
    """Return the name of the step that a function is, or ``None`` if it is none.

    Args:
        workflow: The workflow.
        function: The function.

    Raises:
        WorkflowError: It is several steps.
    """
    names = [name for name, step in workflow.steps.items() if step.function is function]
    if len(names) > 1:
        shown = getattr(function, "__name__", repr(function))
        raise WorkflowError(
            f"function {shown!r} is several steps of workflow {workflow.name!r}: {', '.join(names)}; say which by name"
        )
    return names[0] if names else None


def _values(name: str, value: object) -> tuple[str, ...]:
    items = value if isinstance(value, Iterable) and not isinstance(value, str | bytes) else [value]
    try:
        found = tuple(dimension_value(name, item) for item in items)
    except PartitionError as exc:
        raise WorkflowError(f".where({name}={value!r}): {exc}") from exc
    if not found:
        raise WorkflowError(f".where({name}={value!r}) has no values; pass at least one")
    return found


def declared_inputs(inputs: Mapping[str, Input] | None, step: str) -> dict[str, Input]:
    """Return the inputs of a step as they were declared.

    Raises:
        WorkflowError: It is no dict of inputs, or a name that cannot be that of an argument.
    """
    if inputs is None:
        return {}
    if not isinstance(inputs, Mapping):
        raise WorkflowError(f"inputs= of step {step!r} must be a dict, such as {{'yesterday': flow.output('value')}}")
    for name, item in inputs.items():
        if not isinstance(name, str) or not name.isidentifier() or name in ("ctx", "context", "config"):
            raise WorkflowError(
                f"inputs= of step {step!r} has the name {name!r}, which cannot be that of an input; use another, "
                "which the function has as a parameter"
            )
        if not isinstance(item, Input):
            raise WorkflowError(
                f"input {name!r} of step {step!r} is {item!r}; pass what workflow.output('step') returns"
            )
    return dict(inputs)


def check_inputs(workflow: Source) -> None:
    """Refuse inputs that cannot be, of a workflow and of all that it reads.

    Raises:
        WorkflowError: A step that is not there, partitions that do not fit, or workflows that read each other.
    """
    graph: dict[str, list[tuple[str, bool]]] = {}
    found: dict[str, Source] = {}
    pending = [workflow]
    while pending:
        reader = pending.pop()
        if found.setdefault(reader.name, reader) is not reader:
            raise WorkflowError(f"two workflows that read each other's outputs are called {reader.name!r}; rename one")
        if reader.name in graph:
            continue
        edges = graph[reader.name] = []
        for step, name, item in inputs_of(reader):
            _check_input(reader, step, name, item)
            edges.append((item.workflow.name, bool(item.back)))
            pending.append(item.workflow)
    _refuse_cycles(graph, found)


def inputs_of(workflow: Source) -> Iterator[tuple[str, str, Input]]:
    """Yield the inputs of a workflow: the step, the name of its argument, and the input."""
    for name, step in workflow.steps.items():
        for argument, item in step.inputs.items():
            yield name, argument, item


def _check_input(reader: Source, step: str, name: str, item: Input) -> None:
    where = f"input {name!r} of step {step!r} of workflow {reader.name!r}"
    try:
        source = item.step_name
        item.mapping(reader.partitions)
    except (PartitionError, WorkflowError) as exc:
        raise WorkflowError(f"{where} cannot be read from workflow {item.workflow.name!r}: {exc}") from exc
    if item.workflow is reader and not item.back:
        same = "itself" if source == step else f"step {source!r}"
        raise WorkflowError(
            f"{where} is {same} of the same date; within a run steps follow each other: use after={source!r} and "
            "ctx.get_output(), or .previous() for the date before"
        )


def _refuse_cycles(graph: Mapping[str, list[tuple[str, bool]]], found: Mapping[str, Source]) -> None:
    """Refuse workflows that wait for each other: each way round has to go back in time."""
    same_date = {name: [other for other, back in edges if not back] for name, edges in graph.items()}
    anyhow = {name: [other for other, _ in edges] for name, edges in graph.items()}
    for name in graph:
        if cycle := _way_back(same_date, name):
            raise WorkflowError(
                f"workflows read each other in a circle: {' reads '.join(cycle)}; merge them into one, or go back in "
                "time somewhere: .previous()"
            )
    for name, workflow in found.items():
        dated = workflow.partitions is not None and workflow.partitions.cadence is not None
        if not dated and (cycle := _way_back(anyhow, name)):
            raise WorkflowError(
                f"workflows read each other in a circle: {' reads '.join(cycle)}, and {name} has no dates, so that "
                "it would wait for dates that wait for it"
            )


def _way_back(graph: Mapping[str, Sequence[str]], start: str) -> list[str] | None:
    """Return a way from a workflow back to itself."""
    pending, seen = [[start]], set()
    while pending:
        way = pending.pop()
        for other in graph[way[-1]]:
            if other == start:
                return [*way, other]
            if other not in seen:
                seen.add(other)
                pending.append([*way, other])
    return None
