"""The parameters of a workflow as Dagster's launchpad and run config have them: the configuration of a resource."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from flowctx.core.data.encoding import from_json
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.parameters import SHOWN_AS_TEXT
from flowctx.core.workflow.run_request import RESERVED_NAMES


def params_key(workflow: Workflow) -> str:
    """Return the key of the resource whose configuration is the run's parameters."""
    return f"{workflow.name}_params"


def params_resource(workflow: Workflow) -> dg.ResourceDefinition:
    """Return the resource through which the parameters of a run are edited, in the launchpad as in run config.

    Example:
        ::

            {"resources": {"daily_prices_params": {"config": {"max_move": 0.3}}}}
    """
    fields = {
        name: dg.Field(_config_type(parameter.kind), default_value=parameter.form_default, is_required=False)
        for name, parameter in workflow.parameters.items()
    }
    requests = {name: dg.Field(dg.Any, is_required=False) for name in RESERVED_NAMES}
    schema: Any = dg.Permissive(fields) if workflow.extra_params else requests | fields  # type: ignore[no-untyped-call]
    return dg.ResourceDefinition(
        resource_fn=lambda init: init.resource_config,
        config_schema=schema,
        description=f"Parameters of workflow {workflow.name}; batch_id, trace_id and as_of_date may be given here too.",
    )


def _config_type(kind: type) -> Any:
    """Return how the launchpad shows a parameter and Dagster checks it: with the type of its default."""
    if kind is bool:
        return bool
    if kind is list:
        return dg.Array(dg.Any)
    if kind is dict:
        return dg.Permissive()  # type: ignore[no-untyped-call]
    scalar: Any = str if kind in (*SHOWN_AS_TEXT, str) else kind
    if kind is Decimal or scalar not in (int, float, str):
        return dg.Any  # a decimal may be written as a number, or as text
    # An object is a tagged value, such as {"$date": "2012-10-26"}.
    return dg.ScalarUnion(scalar_type=scalar, non_scalar_schema={f"${kind.__name__.lower()}": str})


def params_of(config: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Return the parameters in a run's configuration: JSON, with ``{"$date": "2012-10-26"}`` for what JSON lacks."""
    found: Mapping[str, Any] = from_json(dict(config), what)
    return found
