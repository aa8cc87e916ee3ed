"""The configuration of a step, set where people start a run."""

import dagster as dg
import pytest

from flowctx import Workflow
from flowctx.dagster import WorkflowIOManager, workflow_assets, workflow_definitions

flow = Workflow("configured", params={"note": "x"})
flow.step("gate", config={"limit": 3})(lambda ctx, config: dict(config))


def launched(tmp_path, wanted):
    """Materialise the assets with what somebody writes into the launchpad."""
    config = {"resources": {"configured_params": {"config": {"step_config": wanted}}}}
    io = WorkflowIOManager(base_path=str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            workflow_assets(flow),
            resources={"workflow_io_manager": io},
            instance=instance,
            run_config=config,
            raise_on_error=False,
        )
        return done, io


def test_the_launchpad_of_dagster_sets_it(tmp_path):
    """It stands beside the parameters of the workflow, and the schema of the job has a place for it."""
    done, io = launched(tmp_path, {"gate": {"limit": 4}})
    assert (done.success, io.output("configured/gate")) == (True, {"limit": 4})
    job = workflow_definitions(flow, base_path=str(tmp_path)).resolve_job_def("configured_job")
    assert dg.validate_run_config(
        job, {"resources": {"configured_params": {"config": {"step_config": {"gate": {"limit": 4}}}}}}
    )


@pytest.mark.parametrize(
    ("wanted", "words"),
    [({"gat": {}}, "did you mean 'gate'"), ({"gate": {"limit": "abc"}}, "it must be a whole number")],
)
def test_a_slip_in_the_launchpad_fails_the_first_step_in_one_sentence(tmp_path, wanted, words):
    """Nothing is run with what is not meant."""
    done, _ = launched(tmp_path, wanted)
    (failed,) = done.get_step_failure_events()
    assert words in str(failed.step_failure_data.user_failure_data.description)
