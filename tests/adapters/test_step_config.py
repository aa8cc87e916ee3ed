"""The configuration of a step, set where people start a run."""

from datetime import date
from decimal import Decimal

import dagster as dg
import pytest
from jsonschema import Draft7Validator

from flowctx import ContextError, PartitionScheme, Workflow, run
from flowctx.airflow import workflow_dag
from flowctx.cli.options import CommandError, read_step_config
from flowctx.dagster import WorkflowIOManager, workflow_assets, workflow_definitions
from flowctx.testing import run_assets, run_dag

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


@pytest.mark.parametrize("way", ["run", "run_dag", "run_assets"])
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"gat": {}}, "did you mean 'gate'"),
        ({"gate": {"limit": "abc"}}, "it must be a whole number"),
        ({"gate": {"api_token": "abc"}}, "sets a secret"),
    ],
)
def test_a_slip_in_python_is_refused_before_the_first_step_runs(way, wanted, words):
    """By the same error here and on each engine."""
    called = []
    noted = Workflow("noted", params={"note": "x"})
    noted.step("gate", config={"limit": 3})(lambda ctx, config: called.append(1))
    target = workflow_dag(noted) if way == "run_dag" else noted
    with pytest.raises(ContextError, match=words):
        {"run": run, "run_dag": run_dag, "run_assets": run_assets}[way](target, step_config=wanted)
    assert called == []


@pytest.mark.parametrize("way", ["run", "run_dag", "run_assets"])
def test_values_of_python_are_taken_as_their_plain_form(way):
    """A tuple is a list everywhere, and no secret."""
    limits = Workflow("limits")
    limits.step("gate", config={"limits": [3, 4]})(lambda ctx, config: {"limits": config["limits"]})
    target = workflow_dag(limits) if way == "run_dag" else limits
    wanted = {"gate": {"limits": (1, 2)}}
    done = {"run": run, "run_dag": run_dag, "run_assets": run_assets}[way](target, step_config=wanted)
    assert done.context.get_output("gate", "limits") == [1, 2]


def test_the_field_of_the_form_is_no_parameter():
    """Whoever passes an unknown parameter is told those that there are."""
    with pytest.raises(ContextError, match="has no parameter 'xyz'; it has note; declare it"):
        run_dag(workflow_dag(flow), params={"xyz": 1})


typed = Workflow("typed_steps", params={"note": "x"})
typed.step("gate", config={"limit": 3, "since": date(2012, 1, 3), "rate": Decimal("0.1")})(
    lambda ctx, config: dict(config)
)


def test_the_trigger_form_of_airflow_sets_it():
    """The form has a field for it that knows the types, and what is written there reaches the step."""
    dag = workflow_dag(typed)
    field = dag.params.get_param("step_config")
    assert "gate: limit, since, rate" in field.description
    for wrong in ({"gate": {"limit": "abc"}}, {"gate": {"since": "26/10/2012"}}, {"gate": 3}):
        with pytest.raises(ValueError, match="Invalid input|is not"):
            field.resolve(wrong)
    assert field.resolve({}) == {}
    wanted = {"gate": {"limit": 4, "since": "2012-10-26"}}
    assert field.resolve(wanted) == wanted
    result = run_dag(dag, step_config=wanted)
    assert result.context.get_output("gate") == {"limit": 4, "since": date(2012, 10, 26), "rate": Decimal("0.1")}
    assert "step_config" not in result.context.params


def test_what_airflow_checks_of_the_form_does_not_grow_with_the_steps(monkeypatch):
    """It checks the form's schema some ten times for each task; the type of each value is known all the same."""
    looked_at = []
    descend = Draft7Validator.descend
    monkeypatch.setattr(Draft7Validator, "descend", lambda self, *a, **k: looked_at.append(a) or descend(self, *a, **k))
    numbers = []
    for size in (1, 50):
        many = Workflow(f"steps_{size}")
        for number in range(size):
            many.step(f"part_{number}", config={f"limit_{number}": number})(lambda ctx, config: dict(config))
        field = workflow_dag(many).params.get_param("step_config")
        looked_at.clear()
        assert field.resolve({}) == {}
        numbers.append(len(looked_at))
    assert numbers[0] == numbers[1] > 0
    assert field.resolve({"part_7": {"limit_7": 8, "limit_8": "of no step"}})
    for wrong in ({"part_7": {"limit_7": 8.5}}, {"part_49": {"limit_49": "abc"}}, {"part_0": 3}):
        with pytest.raises(ValueError, match="Invalid input|is not"):
            field.resolve(wrong)


def test_the_shell_sets_it():
    """What is typed has the type of the step's own value, or of JSON where it has none."""
    texts = {"gate.limit": "4", "gate.since": "2012-10-26", "gate.rate": "0.25", "gate.more": "[1]"}
    read = read_step_config(typed, texts)
    assert read == {"gate": {"limit": 4, "since": date(2012, 10, 26), "rate": Decimal("0.25"), "more": [1]}}
    for name, words in (
        ("gate.limit", r"step_config\['gate'\]\['limit'\] is 'abc'; it must be"),
        ("limit", "NAME=VALUE"),
    ):
        with pytest.raises((ContextError, CommandError), match=words):
            read_step_config(typed, {name: "abc"})


def test_a_slip_is_refused_before_the_first_step_of_a_mapped_dag_runs():
    """Its instances and the step after them are of one workflow."""
    each = Workflow("configured_each", partitions=PartitionScheme(fund=["A", "B"]))
    each.step("gate", config={"limit": 3})(lambda ctx, config: dict(config))

    def total(ctx): ...

    with pytest.raises(ContextError, match="did you mean 'gate'"):
        run_dag(workflow_dag(each, map_over=["fund"], reduce=total), step_config={"gat": {}})
