"""The workflows of batches that go on elsewhere or later, as a code location."""

import chained
import dagster as dg
import moved
import retried

from flowctx.dagster import workflow_definitions

defs = dg.Definitions.merge(
    *(workflow_definitions(flow) for flow in (moved.flow, retried.flow, chained.chain)),
    dg.Definitions(executor=dg.in_process_executor),
)
