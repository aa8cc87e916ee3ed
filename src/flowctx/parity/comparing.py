"""What differs between a run here and a run on an engine: the first step of each partition, and why that may be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flowctx.core.errors import WorkflowError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.definition import Workflow
from flowctx.parity.causes import cause_of
from flowctx.parity.recorded import OF_RUN, OF_STEP, Recorded, end_changes, run_changes, step_changes
from flowctx.versions.changes import Change, Tolerance

#: The side that runs here a second time.
AGAIN: Final = "here again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """The first step of a partition that an engine ran otherwise than here."""

    #: The partition; ``None`` of a workflow without partitions.
    partition: PartitionKey | None
    #: The engine; ``here again`` where two runs here differ, so that the step is not deterministic.
    engine: str
    #: The first step that differs; ``None`` if the run itself does: its dates, its ids, how it ended, or that there is
    #: none.
    step: str | None
    #: What differs: here, and there.
    changes: tuple[Change, ...] = ()
    #: What explains all of it, if that is known, such as ``the last bits of floats``.
    cause: str | None = None

    @property
    def deterministic(self) -> bool:
        """Whether two runs here were equal, so that it is the engine that differs."""
        return self.engine != AGAIN

    @property
    def text(self) -> str:
        """What it is, in a sentence."""
        where = f"{self.partition}: " if self.partition is not None else ""
        what = f"step {self.step!r}" if self.step is not None else "the run"
        why = f": {self.cause}" if self.cause else ""
        if not self.deterministic:
            return f"{where}{what} is not deterministic, and what follows it is not compared: two runs here differ{why}"
        return f"{where}{what} differs on {self.engine.capitalize()}{why}"


@dataclass(kw_only=True)
class Parity:
    """What a comparison of engines found."""

    #: The workflow's name.
    workflow: str
    #: The engines that a run here was compared with.
    engines: tuple[str, ...]
    #: How the runs here ended.
    statuses: Counter[str] = field(default_factory=Counter)
    #: Why runs failed or were skipped that did so everywhere, and how many.
    reasons: Counter[str] = field(default_factory=Counter)
    #: The first step of each partition that differs, on each engine.
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs; what failed everywhere alike is equal."""
        return not self.disagreements

    def __bool__(self) -> bool:
        return self.equal


@dataclass(frozen=True, kw_only=True)
class Comparer:
    """Compares what the sides recorded of each partition.

    Args:
        workflow: The workflow.
        how: Which numbers are near enough, and what rows of tables are known by.
        ignore: Steps, or values of steps such as ``fetch.loaded_at``, that may differ.
    """

    workflow: Workflow
    how: Tolerance = field(default_factory=Tolerance)
    ignore: Collection[str] = ()

    def __post_init__(self) -> None:
        """Refuse names of no step.

        Raises:
            WorkflowError: A step that may differ is none of the workflow's.
        """
        for name in self.ignore:
            step = re.split(r"[.\[,]", name, maxsplit=1)[0]
            if step not in self.workflow.steps and step not in OF_RUN:
                raise WorkflowError(
                    f"{name!r}, which may differ, is nothing of workflow {self.workflow.name!r}; name a step, or a "
                    f"value of one: {', '.join(self.workflow.steps)}"
                )

    def check_names(self, outputs: Mapping[str, Collection[str]]) -> None:
        """Refuse a key, or values that may differ, of which nothing that was compared has one.

        Args:
            outputs: The names in the output of each step that had one.

        Raises:
            PlainDataError: No table has a column of the key.
            WorkflowError: No output of a step has a value that may differ.
        """
        self.how.check_key()
        for name in self.ignore:
            step, dot, value = name.partition(".")
            known = outputs.get(step)
            if dot and known and not any(re.match(re.escape(one) + r"([.\[,]|$)", value) for one in (*known, *OF_STEP)):
                raise WorkflowError(
                    f"{name!r}, which may differ, is in no output of step {step!r}; it has {', '.join(sorted(known))}"
                )

    def disagreements(
        self,
        key: PartitionKey | None,
        here: Recorded,
        again: Recorded,
        there: Mapping[str, Recorded],
        problems: Mapping[str, str],
    ) -> Iterator[Disagreement]:
        """Yield what differs of one partition: where two runs here do, and then on each engine.

        Args:
            key: The partition.
            here: What a run here recorded.
            again: What a second one did.
            there: What each engine did.
            problems: Why engines could not begin a run, of those that could not.
        """
        unsteady = {step: found for step in self.workflow.steps if (found := self._changes(here, again, step))}
        if unsteady:
            yield self._disagreement(key, AGAIN, next(iter(unsteady)), here, again, next(iter(unsteady.values())))
        for engine, side in there.items():
            found = [*run_changes(here, side), *(end_changes(here, side) if side.run is not None else ())]
            found = [change for change in found if not self._is_ignored(change.path)]
            if found:
                why = problems.get(engine)
                yield Disagreement(partition=key, engine=engine, step=None, changes=tuple(found), cause=why)
            if side.run is None:
                continue
            for step in self.workflow.steps:
                if not unsteady.keys().isdisjoint(self.workflow.ancestors(step)):
                    continue  # what differs may follow from that
                known = {change.path for change in unsteady.get(step, ())}
                new = [change for change in self._changes(here, side, step) if change.path not in known]
                if new:
                    yield self._disagreement(key, engine, step, here, side, new)
                    break

    def _disagreement(
        self,
        key: PartitionKey | None,
        engine: str,
        step: str,
        here: Recorded,
        there: Recorded,
        found: Sequence[Change],
    ) -> Disagreement:
        cause = cause_of(here.outputs.get(step), there.outputs.get(step), found)
        return Disagreement(partition=key, engine=engine, step=step, changes=tuple(found), cause=cause)

    def _changes(self, one: Recorded, other: Recorded, step: str) -> list[Change]:
        found = step_changes(one, other, step, self.how)
        return [change for change in found if not self._is_ignored(f"{step}.{change.path.removeprefix('output.')}")]

    def _is_ignored(self, path: str) -> bool:
        """Whether a value may differ: it is named, or something that it is in."""
        return any(path == name or re.match(re.escape(name) + r"[.\[,]", path) for name in self.ignore)
