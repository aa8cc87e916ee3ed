"""The workflow of a batch that begins and ends elsewhere, as a code location."""

import dagster as dg
from moved import flow

from flowctx.dagster import workflow_definitions

defs = dg.Definitions.merge(workflow_definitions(flow), dg.Definitions(executor=dg.in_process_executor))
