"""How far a launch has come, and who is told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from flowctx.core.batches.records import PartitionRun, PartitionState


@dataclass
class LaunchProgress:
    """How far a launch has come."""

    #: How many partitions are selected.
    total: int
    #: Partitions that were passed over because they are done, have failed before, or run elsewhere.
    before: dict[PartitionState, int] = field(default_factory=dict)
    #: Partitions that are under way elsewhere, by engine.
    elsewhere: dict[str, int] = field(default_factory=dict)
    #: Partitions that ended in this launch.
    ended: dict[PartitionState, int] = field(default_factory=dict)
    #: Partitions that are under way, or were left so on their engine.
    under_way: int = 0
    #: Whether the batch kept its parameters although others were asked for, as nothing would have run with those.
    params_kept: bool = False
    #: When it began, by the monotonic clock.
    began: float = field(default_factory=time.monotonic)
    #: Why it stopped before the end, if it did.
    stopped: str | None = None

    def pass_over(self, run: PartitionRun) -> None:
        """Count a partition that this launch does not run."""
        self.before[run.state] = self.before.get(run.state, 0) + 1
        if not run.state.ended:
            self.elsewhere[run.engine] = self.elsewhere.get(run.engine, 0) + 1

    def end(self, run: PartitionRun) -> None:
        """Count a partition that has ended in this launch."""
        self.ended[run.state] = self.ended.get(run.state, 0) + 1

    @property
    def passed(self) -> int:
        """How many partitions need no more attention now."""
        return sum(self.before.values()) + sum(self.ended.values())

    @property
    def left(self) -> int:
        """How many partitions it has not come to."""
        return self.total - self.passed - self.under_way

    @property
    def failed(self) -> int:
        """How many partitions stand as failed, from this launch or before."""
        return self.ended.get(PartitionState.FAILED, 0) + self.before.get(PartitionState.FAILED, 0)

    @property
    def waiting(self) -> int:
        """How many partitions wait for others that have not ended well, or are under way elsewhere."""
        return self.before.get(PartitionState.WAITING, 0)

    @property
    def complete(self) -> bool:
        """Whether each partition is done."""
        counts = (*self.before.items(), *self.ended.items())
        return sum(count for state, count in counts if state.done) == self.total

    @property
    def rate(self) -> float:
        """Partitions that ended in a second, since it began."""
        spent = time.monotonic() - self.began
        return sum(self.ended.values()) / spent if spent > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at this rate."""
        return (self.total - self.passed) / self.rate if self.rate else None


class LaunchListener:
    """Is told what happens while a batch is launched; this one does nothing with it."""

    def begun(self, progress: LaunchProgress) -> None:
        """The launch begins."""

    def news(self, run: PartitionRun, progress: LaunchProgress) -> None:
        """Something became of a partition."""

    def tick(self, progress: LaunchProgress) -> None:
        """Time has passed; called at least every second."""

    def stopping(self, why: str, progress: LaunchProgress) -> None:
        """No more partitions are begun."""

    def over(self, progress: LaunchProgress) -> None:
        """The launch is over, whatever ended it."""
