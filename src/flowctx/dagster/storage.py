"""Where all that a run keeps is: its outputs, what is too large for them, and the ledger that remembers it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import dagster as dg

from flowctx.artifacts import artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.errors import ArtifactError, ContextError, FlowctxError, LedgerError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.workflow.date_of_run import says_date
from flowctx.core.workflow.run_context import capture_id_of
from flowctx.core.workflow.run_request import read_text
from flowctx.dagster.output_store import OutputStore, StoredOutput
from flowctx.dagster.partitions import from_dagster_key
from flowctx.dagster.recorded_outputs import OutputPlace, RecordedOutputs
from flowctx.dagster.run_facts import RunFacts
from flowctx.ledger import ledger_from_env, shared_ledger, strict_from_env

logger = logging.getLogger("flowctx")
_T = TypeVar("_T")

#: So many runs of parts are looked at for what is told of a capture.
_MOST_PARTS = 1000


def ledger_at(url: str | None) -> Ledger | None:
    """Return the ledger that the environment names, else the one at a URL, which a variable may hold; if there is one.

    Args:
        url: The URL, as ``ledger_url=`` has it.

    Raises:
        ContextError: The URL is empty, or the variable that is to hold it is not set.
    """
    ledger = ledger_from_env()
    if ledger is not None:
        return ledger
    named = in_variable(url, "ledger_url")
    return shared_ledger(named) if named is not None else None


def in_variable(value: str | None, name: str) -> str | None:
    """Return what an argument says, which an environment variable may hold.

    Args:
        value: The text, or Dagster's ``EnvVar``.
        name: The argument.

    Raises:
        ContextError: It is empty, or its variable is empty or not set.
    """
    if not isinstance(value, dg.EnvVar):
        return read_text(value, name)
    found = value.get_value()
    if found is None or not found.strip():
        raise ContextError(f"{name} is in the variable {value.env_var_name}, which is empty or not set here; set it")
    return found


@dataclass(frozen=True)
class RunStorage:
    """The three places that a step writes to and a reader looks into; each is known here once."""

    #: The folder or URL of the outputs, if there is one.
    base: str | None
    #: The ledger in which runs are recorded, if there is one.
    ledger: Ledger | None

    @classmethod
    def at(cls, base: str | None, ledger_url: str | None) -> RunStorage:
        """Return the storage with the ledger that the environment names, else the one at a URL, if there is one."""
        folder = in_variable(base, "base_path")
        return cls(None if folder is None else os.path.expanduser(folder), ledger_at(ledger_url))

    @cached_property
    def artifacts(self) -> ArtifactStore | None:
        """Where tables and large outputs are kept: what the environment names, else among the outputs."""
        return artifact_store(self.ledger, f"{self.base}/@artifacts" if self.base else None)

    @cached_property
    def outputs(self) -> OutputStore:
        """The files of the outputs.

        Raises:
            ContextError: There is no folder outside of a run.
        """
        if self.base is None:
            raise ContextError("WorkflowIOManager has no folder outside of a run; pass base_path=")
        return OutputStore(self.base, self.artifacts)

    @property
    def recorded(self) -> RecordedOutputs | None:
        """What the ledger has, if there is one."""
        return None if self.ledger is None else RecordedOutputs(self.ledger, self.artifacts)

    def newest(self, place: OutputPlace, facts: RunFacts | None) -> StoredOutput:
        """Return what an asset of the user's should see: the capture of its own batch (or run), else the current one.

        Args:
            place: Where it is looked for.
            facts: The run that asks; None outside of a run.

        Raises:
            ArtifactError: There is no such output.
        """
        found = None if facts is None else self._of_the_run(place, self.with_captures(facts))
        return self.current(place) if found is None else found

    def with_captures(self, facts: RunFacts) -> RunFacts:
        """Return what Dagster says of a run, with the context of the run that it continues, if it does."""
        resume_from = facts.tag("resume_from")
        if resume_from is None:
            return facts
        return replace(facts, continued=self._ask(lambda recorded: recorded.context(resume_from), None))

    def current(self, place: OutputPlace) -> StoredOutput:
        """Return the file that was written last, unless what is current by the ledger is newer.

        Raises:
            ArtifactError: There is no such output.
        """
        try:
            stored = self.outputs.read(place.asset_path, place.key)
        except ArtifactError:
            newer = self.recorded.newer(place, None) if self.recorded is not None else None
            if newer is None:
                raise
            return newer
        return self._ask(lambda recorded: recorded.newer(place, stored) or stored, stored)

    def capture(self, place: OutputPlace, capture_id: str) -> StoredOutput:
        """Return a capture: its file, or what the ledger has of it where that is newer.

        Raises:
            ArtifactError: There is no such output.
        """
        try:
            stored = self.outputs.read(place.asset_path, place.key, capture_id)
        except ArtifactError:
            found = self.recorded.of_captures(place, [capture_id]) if self.recorded is not None else None
            if found is None:
                raise
            return found
        return self.rewritten(place, stored)

    def rewritten(self, place: OutputPlace, stored: StoredOutput) -> StoredOutput:
        """Return a file, or what the ledger has of the same capture where another run has written it since."""
        return self._ask(lambda recorded: recorded.rewritten(place, stored) or stored, stored)

    def why_not_whole(self, of_step: Sequence[str], captures: Iterable[StoredOutput]) -> list[str]:
        """Return which of some captures have files of two versions: a step was made again, and what follows it was not.

        Args:
            of_step: The workflow and the step that they are of.
            captures: The captures.
        """
        if len(of_step) < 2:
            return []
        workflow, ids = of_step[-2], {capture.capture_id for capture in captures}
        return self._ask(lambda recorded: _not_whole(recorded.ledger, workflow, ids), [])

    def _ask(self, look: Callable[[RecordedOutputs], _T], stored: _T) -> _T:
        """Return what the ledger has; what is stored, where there is none, or it is away and need not be asked."""
        if self.recorded is None:
            return stored
        try:
            return look(self.recorded)
        except LedgerError as exc:
            if strict_from_env():
                raise
            logger.warning("the ledger cannot say what is newer than the files of outputs (%s); they are taken", exc)
            return stored

    def _of_the_run(self, place: OutputPlace, facts: RunFacts) -> StoredOutput | None:
        named = (facts.tag("capture_id") if facts.continued is None else None) or facts.captures_named
        found = self.outputs.of_run(place.asset_path, place.key, named)
        # Of several dates in one batch, that of this run; a run about none of them reads the latest.
        by_run = next((output for output in found if output.run_id in (facts.run_id, facts.first_run_id)), None)
        if by_run is not None:
            return self.rewritten(place, by_run)
        capture_ids = _capture_ids(facts, place)
        if not found:
            return self._recorded_of(place, capture_ids, facts.batch_id)
        return self.rewritten(place, next((one for one in found if one.capture_id in capture_ids), found[-1]))

    def _recorded_of(self, place: OutputPlace, capture_ids: list[str], batch_id: str | None) -> StoredOutput | None:
        found = self._ask(lambda recorded: recorded.of_captures(place, capture_ids), None)
        if found is None and batch_id is not None and not _says_date(place):
            return self._ask(lambda recorded: recorded.of_batch(place, batch_id), None)
        return found


def _capture_ids(facts: RunFacts, place: OutputPlace) -> list[str]:
    """Return the ids that the capture of a run may have: without a scheme the order of its dimensions is not known."""
    key, scheme = place.key, place.scheme
    if key is not None and key not in facts.keys:  # of another asset, whose partitions are not those of the run
        partition = None if scheme is None else from_dagster_key(key, scheme)
        return [] if partition is None else [capture_id_of(partition, scheme, facts.captures_named)]
    try:
        partition, capture_id = facts.capture(key, scheme)
    except FlowctxError:
        return []
    *values, batch = capture_id.split("|")
    if scheme is not None or partition is None or len(partition) != 2 or len(values) < 2:
        return [capture_id]
    return [capture_id, "|".join([values[1], values[0], *values[2:], batch])]


def _says_date(place: OutputPlace) -> bool:
    """Whether the partition of a place says what its captures are about, so that a batch has one of it."""
    if place.key is None:
        return False
    return place.scheme is None or says_date(from_dagster_key(place.key, place.scheme), place.scheme)


def _not_whole(ledger: Ledger, workflow: str, capture_ids: Collection[str]) -> list[str]:
    parts = ledger.list_runs(workflow=workflow, status=RunStatus.PARTIAL, limit=_MOST_PARTS)
    found: list[str] = []
    for part in parts:
        ctx = part.context
        if part.error is None or ctx.capture_id not in capture_ids:
            continue
        last = ledger.list_runs(workflow=workflow, capture_id=ctx.capture_id, partition=ctx.partition, limit=1)
        if [run.key for run in last] == [part.key]:
            found.append(f"capture {ctx.capture_id} of workflow {workflow!r} is not whole: {part.error}")
    return found
