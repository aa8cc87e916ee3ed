"""What partitions read of others: copied from the user's ledger into one that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flowctx import local
from flowctx.core.durability.current import versions_to_read
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.versions import Version, older_with_step, without_step
from flowctx.core.errors import InputMissing, LedgerError, NoLedger, VersionGone
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import amount
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.import_path import import_path_of
from flowctx.core.workflow.inputs import Source, inputs_of
from flowctx.core.workflow.result import StepResult
from flowctx.parity.running import Work, scratch_environment
from flowctx.versions.choosing import load_versions, required_ledger

#: The steps that are read of each partition of each workflow, by the workflow's name.
_Wanted = dict[str, tuple[Source, dict[PartitionKey | None, dict[str, bool]]]]


def copy_inputs(work: Work, ledger: Ledger | str | None, folder: Path) -> None:
    """Write what partitions read, and do not make themselves, into the ledger in a folder.

    The user's ledger is opened only if there is something to read, and only read.

    Raises:
        LedgerError: There is something to read, and no ledger.
        InputMissing: The ledger does not have what is read.
    """
    wanted = _wanted(work)
    if not wanted:
        return
    there = _ledger(work.workflow, ledger)
    # All of it is found while the environment still names the user's artifacts.
    found = [(source, key, some) for source, keys in wanted.values() for key, some in _recorded(there, source, keys)]
    with scratch_environment(folder):
        for source, key, results in found:
            local.run(_stand_in(source, results), partition=key).raise_for_failure()


def _ledger(workflow: Workflow, ledger: Ledger | str | None) -> Ledger:
    try:
        return required_ledger(ledger)
    except NoLedger:  # it says what to do
        raise
    except LedgerError as exc:
        raise LedgerError(
            f"workflow {workflow.name!r} reads outputs of other partitions, which are in a ledger; pass ledger= "
            "(--ledger) or set FLOWCTX_LEDGER_URL; it is only read"
        ) from exc


def _wanted(work: Work) -> _Wanted:
    own = set(work.keys)
    found: _Wanted = {}
    for _, _, item in inputs_of(work.workflow):
        for key in work.keys:
            for read in item.partitions(work.workflow.partitions, key):
                if item.workflow is work.workflow and read in own:
                    continue
                _, keys = found.setdefault(item.workflow.name, (item.workflow, {}))
                steps = keys.setdefault(read, {})
                steps[item.step_name] = steps.get(item.step_name, False) or not item.is_optional
    return found


def _recorded(
    ledger: Ledger, source: Source, keys: dict[PartitionKey | None, dict[str, bool]]
) -> Iterator[tuple[PartitionKey | None, dict[str, StepResult]]]:
    """Yield what the steps of each partition recorded that is current.

    Raises:
        InputMissing: Something is not there.
    """
    missing: list[PartitionKey | None] = []
    for key, steps in keys.items():
        results: dict[str, StepResult] = {}
        for step, needed in steps.items():
            versions = ledger.versions(source.name, step, [key])
            version = versions_to_read(ledger, source.name, versions).get(key)
            if isinstance(version, VersionGone):
                raise InputMissing(f"{key or source.name}: {version}")
            older = None if version is None or version.has_step else older_with_step(version, versions)
            if version is not None and older is not None:
                raise InputMissing(f"{key or source.name}, {without_step(step, version, older)}")
            if version is not None and version.has_step:
                results[step] = _result(ledger, source, step, version)
            elif needed:
                missing.append(key)
        if results and not missing:
            yield key, results
    if missing:
        some = ", ".join(str(key or source.name) for key in missing[:3]) + (", …" if len(missing) > 3 else "")
        raise InputMissing(
            f"not in the ledger: {amount(len(missing), 'partition')} of workflow {source.name!r} to read ({some}); "
            f"make them: flowctx backfill {import_path_of(source) or f'MODULE:{source.name}'} --batch NEW_ID --select …"
        )


def _result(ledger: Ledger, source: Source, step: str, version: Version) -> StepResult:
    if version.is_hole:
        return StepResult.skip(version.error or "it was skipped")
    return StepResult.ok(load_versions(ledger, source.name, step, [version])[0])


def _stand_in(source: Source, results: dict[str, StepResult]) -> Workflow:
    """Return a workflow that makes again what was recorded."""
    made = Workflow(source.name, partitions=source.partitions)
    for name, result in results.items():

        def again(ctx: WorkflowContext, *, result: StepResult = result) -> StepResult:
            return result

        made.step(name, after=[])(again)
    return made
