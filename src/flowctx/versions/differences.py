"""What differs between two versions of many partitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from flowctx.core.partitions.key import PartitionKey
from flowctx.versions.changes import Change


class Outcome(StrEnum):
    """How two versions of what a step made of a partition stand to each other."""

    EQUAL = "equal"
    CHANGED = "changed"
    #: Only the second one has an output: the first was skipped, or is not there.
    ADDED = "added"
    #: Only the first one has an output.
    REMOVED = "removed"
    #: One was pruned or written over since, so that nobody knows; only where what both have is compared.
    GONE = "gone"

    @property
    def differs(self) -> bool:
        """Whether something differs, as far as anybody knows."""
        return self not in (Outcome.EQUAL, Outcome.GONE)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDifference:
    """What differs between two versions of what a step made of a partition."""

    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: The step.
    step: str
    #: How they stand to each other.
    outcome: Outcome
    #: The capture of the first version, if there is one.
    before: str | None = None
    #: The capture of the second one.
    after: str | None = None
    #: What differs, where both have an output; where one is gone, that it is.
    changes: tuple[Change, ...] = ()

    @property
    def size(self) -> float:
        """The largest change of a number."""
        deltas = (change.delta for change in self.changes)
        return max((abs(delta) for delta in deltas if delta is not None), default=0.0)


@dataclass(kw_only=True)
class Differences:
    """What differs between two versions of many partitions."""

    #: The workflow's name.
    workflow: str
    #: The first version, in words.
    before: str
    #: The second one.
    after: str
    #: How many steps of partitions stand how.
    counts: Counter[Outcome] = field(default_factory=Counter)
    #: What differs or is gone, partition by partition, in the scheme's order.
    steps: list[StepDifference] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs, of what is counted and of what is kept."""
        outcomes = {*+self.counts, *(step.outcome for step in self.steps)}
        return not any(outcome.differs for outcome in outcomes)

    def __bool__(self) -> bool:
        return not self.equal

    def by_size(self) -> list[StepDifference]:
        """Return what differs, the largest changes of numbers first."""
        return sorted(self.steps, key=lambda found: -found.size)

    def add(self, found: StepDifference) -> None:
        """Count one, and keep it unless both are equal."""
        self.counts[found.outcome] += 1
        if found.outcome is not Outcome.EQUAL:
            self.steps.append(found)
