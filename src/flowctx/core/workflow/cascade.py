"""How a step ends without being started, given how those before it ended: the one rule for all engines."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from enum import StrEnum
from typing import TypeAlias

from flowctx.core.errors import WorkflowError
from flowctx.core.workflow.result import StepStatus


class RunIf(StrEnum):
    """Of which ends of the steps before it a step runs."""

    #: All are ok, or failed and are optional.
    OK = "ok"
    #: None failed: they may have been skipped.
    NOT_FAILED = "not_failed"
    #: Whatever happened.
    ALWAYS = "always"


class Before(tuple[str, ...]):
    """The steps that one follows directly, and how they must have ended for it to run."""

    run_if: RunIf = RunIf.OK

    @classmethod
    def of(cls, after: Iterable[str], run_if: RunIf) -> Before:
        """Return the steps with the rule.

        Example:
            >>> Before.of(["load"], RunIf.ALWAYS).run_if
            <RunIf.ALWAYS: 'always'>
        """
        found = cls(after)
        found.run_if = run_if
        return found

    def among(self, names: Container[str]) -> Before:
        """Return those of some steps."""
        return Before.of((name for name in self if name in names), self.run_if)


#: The steps of a run in order, and which of them each one follows; a :class:`Before` where its rule is not ``ok``.
Order: TypeAlias = Mapping[str, Collection[str]]


def followers(order: Order, steps: Collection[str]) -> set[str]:
    """Return the steps that follow some, however far.

    Args:
        order: Steps, in any order, and which of them each one follows.
        steps: Those that are followed.

    Example:
        >>> sorted(followers({"one": (), "two": ("one",), "three": ("two",), "beside": ()}, ["one"]))
        ['three', 'two']
    """
    reached = set(steps)
    while more := {name for name, before in order.items() if reached.intersection(before)} - reached:
        reached |= more
    return reached.difference(steps)


def nearest_before(order: Order, there: Container[str], step: str) -> list[str]:
    """Return those of some steps that one follows; the others are looked through.

    Example:
        >>> nearest_before({"one": (), "two": ("one",), "three": ("two",)}, ["one"], "three")
        ['one']
    """
    found: dict[str, None] = {}
    pending, seen = [*order[step]], {step}
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name in there:
            found[name] = None
        else:
            pending += order.get(name, ())
    return list(found)


def run_if_of(value: object, step: str) -> RunIf:
    """Return the rule that a step's author names.

    Raises:
        WorkflowError: There is no such rule.

    Example:
        >>> run_if_of("always", "clean_up")
        <RunIf.ALWAYS: 'always'>
    """
    try:
        return RunIf(str(value))
    except ValueError:
        names = ", ".join(repr(str(rule)) for rule in RunIf)
        raise WorkflowError(f"run_if={value!r} of step {step!r} must be one of {names}") from None


def cascaded_status(before: Iterable[StepStatus | None], run_if: RunIf = RunIf.OK) -> StepStatus | None:
    """Return how a step ends without being started, given how those directly before it ended.

    A failure before it goes before a skip; ``None`` says that nothing before it keeps it from running.

    Args:
        before: How they ended; ``None`` of one that has not.
        run_if: What the step asks of them.

    Example:
        >>> cascaded_status([StepStatus.OK, StepStatus.SKIPPED, StepStatus.FAILED])
        <StepStatus.NOT_RUN: 'not_run'>
        >>> cascaded_status([StepStatus.OK, None]) is None
        True
        >>> cascaded_status([StepStatus.SKIPPED], RunIf.NOT_FAILED) is None
        True
    """
    found = set(before)
    if run_if is RunIf.ALWAYS:
        return None
    if StepStatus.FAILED in found or StepStatus.NOT_RUN in found:
        return StepStatus.NOT_RUN
    return StepStatus.SKIPPED if StepStatus.SKIPPED in found and run_if is RunIf.OK else None


def before_of(after: Collection[str]) -> Before:
    """Return the steps that one follows, with its rule."""
    return after if isinstance(after, Before) else Before.of(after, RunIf.OK)


def ends_of(order: Order, statuses: Mapping[str, StepStatus]) -> dict[str, StepStatus | None]:
    """Return how the steps of a run end, given how some did; ``None`` of one that is still to run.

    Example:
        >>> ends_of({"one": (), "two": ("one",), "three": ()}, {"one": StepStatus.SKIPPED})
        {'one': <StepStatus.SKIPPED: 'skipped'>, 'two': <StepStatus.SKIPPED: 'skipped'>, 'three': None}
    """
    ended: dict[str, StepStatus | None] = {}
    for step, after in order.items():
        before = before_of(after)
        ended[step] = statuses.get(step) or cascaded_status((ended.get(name) for name in before), before.run_if)
    return ended
