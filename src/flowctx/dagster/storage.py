"""Where all that a run keeps is: its outputs, what is too large for them, and the ledger that remembers it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from flowctx.artifacts import artifact_store
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.records import RunStatus
from flowctx.core.errors import ArtifactError, ContextError, FlowctxError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.workflow.run_request import read_text
from flowctx.dagster.output_store import OutputStore, StoredOutput
from flowctx.dagster.recorded_outputs import current_output, output_of_capture
from flowctx.dagster.run_facts import RunFacts
from flowctx.ledger import ledger_from_env, shared_ledger

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

    def newest(
        self, asset_path: Sequence[str], key: str | None, facts: RunFacts | None, of_step: Sequence[str] | None = None
    ) -> StoredOutput:
        """Return what an asset of the user's should see: the capture of its own batch (or run), else the newest one.

        Args:
            asset_path: Path of the asset's key.
            key: Dagster's key of the partition.
            facts: The run that asks; None outside of a run.
            of_step: The workflow and the step that the asset is of, by which the ledger knows it; by default the end of
                its path.

        Raises:
            ArtifactError: There is no such output.
        """
        found = None if facts is None else self._of_the_run(asset_path, key, facts, of_step or asset_path)
        if found is not None:
            return found
        try:
            return self.outputs.read(asset_path, key)
        except ArtifactError:
            current = current_output(self.ledger, of_step or asset_path, key, self.artifacts)
            if current is None:
                raise
            return current

    def why_not_whole(self, of_step: Sequence[str], captures: Iterable[StoredOutput]) -> list[str]:
        """Return which of some captures have files of two versions: a step was made again, and what follows it was not.

        Args:
            of_step: The workflow and the step that they are of.
            captures: The captures.
        """
        if self.ledger is None or len(of_step) < 2:
            return []
        workflow, ids = of_step[-2], {capture.capture_id for capture in captures}
        parts = self.ledger.list_runs(workflow=workflow, status=RunStatus.PARTIAL, limit=_MOST_PARTS)
        speaking = [run for run in parts if run.error is not None and run.context.capture_id in ids]
        found: list[str] = []
        for part in speaking:
            ctx = part.context
            last = self.ledger.list_runs(workflow=workflow, capture_id=ctx.capture_id, partition=ctx.partition, limit=1)
            if [run.key for run in last] == [part.key]:
                found.append(f"capture {ctx.capture_id} of workflow {workflow!r} is not whole: {part.error}")
        return found

    def _of_the_run(
        self, asset_path: Sequence[str], key: str | None, facts: RunFacts, of_step: Sequence[str]
    ) -> StoredOutput | None:
        found = self.outputs.of_run(asset_path, key, facts.tag("capture_id") or facts.batch_id or facts.first_run_id)
        # Of several dates in one batch, that of this run; a run about none of them reads the latest.
        by_run = next((output for output in found if output.run_id in (facts.run_id, facts.first_run_id)), None)
        if by_run is not None:
            return by_run
        capture_ids = _capture_ids(facts, key)
        if not found:
            return output_of_capture(self.ledger, of_step, key, capture_ids, self.artifacts)
        return next((output for output in found if output.capture_id in capture_ids), found[-1])


def _capture_ids(facts: RunFacts, key: str | None) -> list[str]:
    """Return the ids that the capture of a run may have: the order of a scheme's dimensions is not known here."""
    if key is not None and key not in facts.keys:
        return []  # of another asset, whose partitions are not those of the run
    try:
        capture_id = str(facts.context(key).capture_id)
    except FlowctxError:
        return []
    *values, batch = capture_id.split("|")
    return [capture_id, "|".join([*reversed(values), batch])] if len(values) == 2 else [capture_id]
