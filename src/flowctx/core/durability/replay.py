"""Run one step again on exactly the context it saw, and compare; nothing is written anywhere."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowctx.core.data.encoding import by_content, to_json
from flowctx.core.data.plain import freeze
from flowctx.core.data.secrets import with_secrets
from flowctx.core.durability.ledger import Ledger
from flowctx.core.durability.reading import StepInputs
from flowctx.core.durability.recorded import load_record
from flowctx.core.durability.records import RunRecord, StepRecord
from flowctx.core.durability.resumption import envelopes
from flowctx.core.errors import WorkflowError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import load_output
from flowctx.core.execution.execute import execute
from flowctx.core.execution.upstream import merge_upstream
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.definition import Step, StepReturn, Workflow
from flowctx.core.workflow.result import StepResult

#: Calls a step's function for us: given the function and its arguments, as :meth:`pdb.Pdb.runcall` is.
Invoke = Callable[..., StepReturn]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of running a step again."""

    #: The run it is from.
    run: RunRecord
    #: The context that the step saw, now as then.
    context: WorkflowContext
    #: What the step returned now.
    result: StepResult
    #: What was recorded then; ``None`` if the run died before.
    recorded: StepRecord | None
    #: The lines in which then and now differ, as a unified diff; empty if they agree.
    diff: str
    #: The exception, if it raised one.
    exception: BaseException | None = None


def replay_step(
    ledger: Ledger,
    workflow: Workflow,
    run: RunRecord,
    name: str,
    *,
    store: ArtifactStore | None = None,
    invoke: Invoke | None = None,
    scratch: ArtifactStore | None = None,
) -> Replay:
    """Run one step of a remembered run again, in this process.

    Args:
        ledger: Where the run is remembered; it is only read.
        workflow: The workflow.
        run: The run.
        name: The step.
        store: Where outputs that became artifacts are.
        invoke: Calls the step's function; ``pdb.Pdb().runcall`` does so under the debugger.
        scratch: Where tables go that the step makes anew.

    Raises:
        WorkflowError: There is no such step, or the run did not get so far.
    """
    step = workflow[name]
    records = ledger.steps(run.key)
    recorded = next((record for record in records if record.step == name), None)
    base = ledger.context(run.key, recorded.run_attempt) if recorded else run.context
    made = envelopes(base, records)
    after = recorded.after if recorded else step.after
    missing = [before for before in after if before not in made]
    if missing:
        raise WorkflowError(
            f"run {run.run_id} did not get as far as step {name!r}: step {missing[0]!r} before it is not complete; "
            f"replay one of {', '.join(record.step for record in records) or 'none'}"
        )

    def fetch(before: str, _: str | None) -> Mapping[str, Any]:
        return load_output(made[before], store)

    ctx, _ = merge_upstream(base, [made[before] for before in after], fetch, store=store)
    config = with_secrets(recorded.config, step.config, f"the configuration of step {name!r}") if recorded else None
    inputs = StepInputs(ledger, step, ctx, store=store, again=recorded.inputs if recorded else {})
    called = _called_by(invoke, step) if invoke else step
    outcome = execute(called, ctx, config, store=scratch, inputs=inputs.load)
    return Replay(
        run=run,
        context=ctx,
        result=outcome.result,
        recorded=recorded,
        diff=_diff(recorded, outcome.result, store) if recorded else "",
        exception=outcome.exception,
    )


def _called_by(invoke: Invoke, step: Step) -> Step:
    @functools.wraps(step.function)  # with its signature, by which the step knows what to pass
    def function(*args: object, **inputs: object) -> StepReturn:
        return invoke(step.function, *args, **inputs)

    return replace(step, function=function)


def _diff(recorded: StepRecord, now: StepResult, store: ArtifactStore | None) -> str:
    then = recorded.result(load_record(recorded, store))
    lines = difflib.unified_diff(_lines(then), _lines(now), "recorded", "replayed", lineterm="")
    return "\n".join(lines)


def _lines(result: StepResult) -> list[str]:
    data = to_json(by_content(freeze(result, "result")))
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False).splitlines()
