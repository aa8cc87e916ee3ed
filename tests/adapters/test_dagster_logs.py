"""What flowctx warns of stands in the log of the run in Dagster."""

import dagster as dg

from flowctx import AsOf, QualityMetrics, StepResult, Workflow
from flowctx.dagster import WorkflowIOManager, workflow_assets, workflow_context


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


def test_two_business_dates_of_one_run_are_in_its_log(capfd) -> None:
    """An asset that forgot the rule of the others is warned of, with both dates and the one place for a rule."""
    days = dg.DailyPartitionsDefinition("2026-01-01", timezone="America/New_York")

    @dg.asset(partitions_def=days)
    def loaded(context: dg.AssetExecutionContext) -> None:
        workflow_context(context, AsOf.last_session("XNYS"))

    @dg.asset(partitions_def=days, deps=[loaded])
    def reported(context: dg.AssetExecutionContext) -> None:
        workflow_context(context)

    assert dg.materialize([loaded, reported], partition_key="2026-01-19").success
    printed = capfd.readouterr().err
    assert "two business dates, 2026-01-16 (from window_end+last_session:XNYS) and 2026-01-19" in printed
    assert "WorkflowContextResource(as_of=...)" in printed
