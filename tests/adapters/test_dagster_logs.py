"""What flowctx warns of stands in the log of the run in Dagster."""

from __future__ import annotations

import dagster as dg

from flowctx import QualityMetrics, StepResult, Workflow
from flowctx.dagster import WorkflowIOManager, workflow_assets


def test_a_warning_of_a_step_is_in_the_log_of_its_run(tmp_path, capfd) -> None:
    """Without any configuration of logging, what is logged of a step shows where people look."""
    flow = Workflow("warned")
    flow.step("check")(
        lambda ctx: StepResult.ok(quality=QualityMetrics(passed=False, reasons=("12 rows are missing",)))
    )
    outputs = {"workflow_io_manager": WorkflowIOManager(base_path=str(tmp_path))}
    dg.materialize(workflow_assets(flow), resources=outputs, raise_on_error=False)
    assert "WARNING" in (printed := capfd.readouterr().err)
    assert "step check: quality not passed: 12 rows are missing" in printed
