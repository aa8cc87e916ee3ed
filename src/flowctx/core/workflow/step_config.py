"""The configuration of steps that the caller of a run sets: on top of what the workflow says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flowctx.core.data.secrets import without_secrets
from flowctx.core.errors import ContextError
from flowctx.core.suggestions import SLIP, did_you_mean, nearest
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.parameters import Parameter

#: In ``metadata``: the configuration that the caller of a run has set, by step.
STEP_CONFIG: Final = "step_config"


def step_config_of(workflow: Workflow | None, wanted: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return what a run's metadata says of the configuration that its caller sets; nothing, if there is none.

    Args:
        workflow: The workflow, whose steps say which names there are, and their types.
        wanted: The configuration by step.

    Raises:
        ContextError: A step that is not there, a value of another type, a slip of a name, or a secret.

    Example:
        >>> flow = Workflow("w")
        >>> flow.step("gate", config={"limit": 3})(lambda ctx, config: None) and None
        >>> step_config_of(flow, {"gate": {"limit": "4"}})
        {'step_config': {'gate': {'limit': 4}}}
    """
    if not wanted:
        return {}
    return {STEP_CONFIG: {step: _read(workflow, step, values) for step, values in wanted.items()}}


def _read(workflow: Workflow | None, step: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if without_secrets(values) != values:
        raise ContextError(
            f"step_config[{step!r}] sets a secret, which a run's own record would keep; declare it with the step, or "
            "have the step read it where secrets are"
        )
    if workflow is None or not workflow.steps:
        return dict(values)
    if step not in workflow.steps:
        hint = did_you_mean(step, workflow.steps)
        raise ContextError(f"step_config names step {step!r}, which workflow {workflow.name!r} does not have; {hint}")
    own = workflow.steps[step].config
    return {name: _value(step, name, value, own) for name, value in values.items()}


def _value(step: str, name: str, value: Any, own: Mapping[str, Any]) -> Any:
    where = f"step_config[{step!r}]"
    if name not in own:
        near = nearest(name, own, cutoff=SLIP)
        if near:
            raise ContextError(f"{where} sets {name!r}, which the step does not have; did you mean {near[0]!r}?")
        return value
    try:
        return Parameter.of(name, own[name]).read(value)
    except ContextError as exc:
        raise ContextError(str(exc).replace("params[", f"{where}[", 1)) from None
