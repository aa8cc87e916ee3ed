"""By which way a partition is stale: what was read, link by link, down to what was captured again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import amount


class Made(NamedTuple):
    """What a workflow made of a partition: all of it, or one step."""

    #: The workflow's name.
    workflow: str
    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: The step; ``None``: all of them.
    step: str | None

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"{self.workflow} {self.partition}" if self.partition is not None else self.workflow


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleLink:
    """One link of the chain that makes a partition stale.

    What was read is stale itself, was made again or is gone, or is not what would be read now.
    """

    #: What was read, or would be.
    read: Made
    #: The capture from which it was read, or would be.
    capture_id: str
    #: Its revision.
    revision: int
    #: The capture that is current instead and has other content; ``None`` where it is itself stale, or there is none.
    now: str | None = None
    #: The batch of that.
    batch_id: str | None = None
    #: Whether that has not the step that was read.
    without_step: bool = False
    #: Whether what was read is there no more, and no newer capture has taken its place.
    gone: bool = False
    #: Whether it was not read, and would be read now.
    added: bool = False
    #: Whether it was read, and would not be read now.
    removed: bool = False

    @property
    def ends(self) -> bool:
        """Whether it is the last link: what was read is not stale itself."""
        return self.gone or self.added or self.removed or self.now is not None

    @property
    def text(self) -> str:
        """The link in words."""
        if self.added:
            return f"{self.read.text} was not read, and would be read now, from {self.capture_id}"
        if self.removed:
            return f"{self.read.text} was read, from {self.capture_id}, and would not be read now"
        if self.gone:
            instead = "nothing has taken its place" if self.now is None else f"{self.now}, which is older, is current"
            return f"{self.read.text}: what {self.capture_id} held is there no more, and {instead}"
        if self.now is None:
            return f"{self.read.text} is stale"
        how = "in place" if self.now == self.capture_id else f"by {self.now}"
        what = f"without the step {self.read.step!r}" if self.without_step else "with other content"
        return f"{self.read.text} was captured again {how} after {self.capture_id}, {what}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StalePartition:
    """A partition whose current version was built on what is not current any more, or not what would be read now.

    Or one of which no version is current any more.
    """

    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: Its current capture; where none is current any more, the last one that was.
    capture_id: str
    #: Why, from what it has read itself to where that begins; empty where only code has changed.
    chain: tuple[StaleLink, ...] = ()
    #: How many links of a long chain are left out before its last one.
    left_out: int = 0
    #: The steps that ran with other code than they have now.
    code: tuple[str, ...] = ()
    #: Why no version of it is current any more, in words; empty: one is.
    missing: str = ""

    @property
    def reason(self) -> str:
        """Why, in words."""
        if self.missing:
            return self.missing
        links = [link.text for link in self.chain]
        if self.left_out:
            links.insert(-1, f"… {amount(self.left_out, 'more link')} …")
        return ": ".join(links) or f"the code of {', '.join(self.code)} has changed"
