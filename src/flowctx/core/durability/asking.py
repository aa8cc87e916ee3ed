"""What an input asks for now, beside what was read by it: the one rule, whoever wants to know whether they agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flowctx.core.durability.records import StepRecord, VersionRead
from flowctx.core.errors import CalendarError, PartitionError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.result import StepStatus


class Asked(NamedTuple):
    """In what an input asks for something else than was read by it."""

    #: The workflow that it reads, and the step.
    workflow: str
    step: str
    #: The partitions that it asks for and that were not read.
    added: Sequence[PartitionKey | None] = ()
    #: What was read and it does not ask for.
    removed: Sequence[VersionRead] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def asked(workflow: str, step: str, keys: Sequence[PartitionKey | None], known: Sequence[VersionRead]) -> Asked:
    """Return in what an input asks for something else than was read.

    Args:
        workflow: The workflow that it reads.
        step: The step that it reads.
        keys: The partitions that it asks for.
        known: What was read.

    Example:
        >>> asked("nav", "value", [PartitionKey(fund="A")], []).added
        (PartitionKey(fund='A'),)
    """
    own = {one.partition for one in known if (one.workflow, one.step) == (workflow, step)}
    wanted = set(keys)
    if own == wanted and len(own) == len(known):
        return Asked(workflow, step)
    return Asked(
        workflow,
        step,
        tuple(key for key in keys if key not in own),
        tuple(one for one in known if one.partition not in wanted or (one.workflow, one.step) != (workflow, step)),
    )


def asked_now(workflow: Workflow, key: PartitionKey | None, record: StepRecord) -> Iterator[Asked]:
    """Yield in what the inputs of a step ask for something else now than it has read.

    An input that the step has been given since, or does not have any more, is a change of its code.

    Args:
        workflow: The workflow as it is now.
        key: The partition that was made.
        record: What is recorded of the step, which did not fail.
    """
    step, scheme = workflow.steps.get(record.step), workflow.partitions
    if step is None or (key is not None if scheme is None else key not in scheme):
        return
    for name in step.inputs.keys() & record.inputs.keys():
        item = step.inputs[name]
        try:
            keys = item.partitions(scheme, key)
        except (CalendarError, PartitionError):  # nobody knows it now
            continue
        if found := asked_of(record, name, item.workflow.name, item.step_name, keys):
            yield found


def asked_of(
    record: StepRecord, name: str, workflow: str, step: str, keys: Sequence[PartitionKey | None]
) -> Asked | None:
    """Return in what an input of a step asks for something else now than the step has read; ``None``: in nothing.

    Args:
        record: What is recorded of the step, which did not fail.
        name: The input; one that the step did not have then is a change of its code.
        workflow: The workflow that it reads now.
        step: The step that it reads now.
        keys: The partitions that it asks for now.
    """
    if name not in record.inputs:
        return None
    found = asked(workflow, step, keys, record.inputs[name])
    if record.status is StepStatus.OK:  # it was given nothing of what was skipped
        found = found._replace(removed=tuple(one for one in found.removed if one.digest is not None))
    return found or None
