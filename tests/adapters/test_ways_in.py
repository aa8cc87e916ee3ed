"""What every way into a run makes of unknown names, wrong types and slips of reserved names, on both engines."""

from __future__ import annotations

import logging
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from airflow.sdk import DAG

from choices import Cap, Cut, Depth, Moment, Opening, Pause, Rate
from flowctx import ContextError, PartitionScheme, Workflow, run
from flowctx.airflow import workflow_dag
from flowctx.airflow.context import run_context
from flowctx.cli.options import read_params
from flowctx.core.data.encoding import to_json
from flowctx.core.workflow.parameters import Parameter
from flowctx.dagster import workflow_context, workflow_definitions
from flowctx.dagster.component import WorkflowComponent
from flowctx.testing import run_assets, run_dag

flow = Workflow(
    "typed",
    partitions=PartitionScheme(tier=["A", "B"]),
    params={"limit": 3, "since": date(2012, 1, 3), "rate": Decimal("1.10"), "note": "", "full": False},
)


@flow.step()
def only(ctx):
    return {"params": ctx.params}


def on_airflow(conf, *, own=True, key="A", params=None, flow=flow):
    """Return the context of a run of the workflow's DAG, or of a task in a DAG of the user's own."""
    dag = workflow_dag(flow) if own else DAG("mine", schedule=None, params=params or {})
    run = SimpleNamespace(
        run_id="r", conf=conf, partition_key=key if own else None, run_type="manual", clear_number=0, start_date=None
    )
    run.logical_date = run.partition_date = run.data_interval_start = run.data_interval_end = run.run_after = None
    context = {"dag": dag, "dag_run": run, "params": {**dag.params.dump(), **conf}}
    return run_context(context, workflow=flow if own else None, strict=own)


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"limmit": 4}, "did you mean 'limit'"),
        ({"bach_id": "b"}, "did you mean 'batch_id'"),
        ({"flowctx/batch_id": "b"}, "did you mean 'batch_id'"),
        ({"as_of": "2026-01-09"}, "did you mean 'as_of_date'"),
        ({"known_at": "2026-01-09T18:00:00Z"}, "is it to say as of when inputs are read"),
        ({"limit": "abc"}, "it must be a whole number"),
        ({"since": "26/10/2012"}, "it must be a date"),
        ({"partition": {"tier": "B"}}, "they must mean the same"),
        ({"as_of_date": "today"}, "write it as YYYY-MM-DD"),
    ],
)
def test_conf_that_is_misunderstood_fails_the_run(conf, words):
    """A step of a workflow's DAG refuses what the run's conf cannot mean."""
    with pytest.raises(ContextError, match=words):
        on_airflow(conf)


@pytest.mark.parametrize("name", ["batch_id", "trace_id", "partition", "as_of_date", "capture_id", "resume_from"])
def test_an_empty_value_is_refused_on_every_way(name):
    """A variable of the shell that is not set is told of in conf, tags and run config, in own DAGs and assets too."""
    words = rf"{name}'?\]? is ''; "
    for own in (True, False):
        with pytest.raises(ContextError, match=words):
            on_airflow({name: ""}, own=own)
        assert on_airflow({name: None}, own=own).batch_id is None
    for how in ({"tags": {f"flowctx/{name}": ""}}, {"tags": {name: ""}}, {"config": {name: ""}}):
        ended = launched(**how)
        assert re.search(words, ended), ended
    with pytest.raises(ContextError, match=words):
        workflow_context(dg.build_asset_context(run_tags={f"flowctx/{name}": ""}))


@pytest.mark.parametrize(("name", "value"), [("from_step", "only"), ("take_over", "true"), ("accept_changes", "true")])
def test_what_goes_with_resume_from_is_refused_without_it(name, value):
    """A way to go on means nothing to a run that continues no other, in conf, tags, run config and assets."""
    words = f"{name}=.* is for a run that continues another; add resume_from"
    for own in (True, False):
        with pytest.raises(ContextError, match=words):
            on_airflow({name: value}, own=own)
    for how in ({"tags": {f"flowctx/{name}": value}}, {"config": {name: value}}):
        ended = launched(**how)
        assert re.search(words, ended), ended
    with pytest.raises(ContextError, match=words):
        workflow_context(dg.build_asset_context(run_tags={f"flowctx/{name}": value}))


def test_conf_has_the_types_of_the_defaults():
    """Text in conf, as the trigger form sends it, becomes what the default is; tagged values too."""
    params = on_airflow({"since": "2012-10-26", "rate": "2.50", "limit": {"$int": "0x7"}}).params
    assert params == {"limit": 7, "since": date(2012, 10, 26), "rate": Decimal("2.50"), "note": "", "full": False}
    assert on_airflow({}).params == flow.params


def test_the_trigger_form_knows_the_types():
    """Airflow's params have the types of the defaults, so that the form shows them and the API refuses others."""
    params = workflow_dag(flow).params
    shown = {name: params.get_param(name).schema for name in params}
    assert shown["since"] == {"type": ["string", "object"], "format": "date"}
    assert (params["since"], params["rate"], shown["full"]["type"]) == ("2012-01-03", "1.10", "boolean")
    for name, wrong in (("limit", "abc"), ("since", "26/10/2012"), ("full", "yes")):
        with pytest.raises(ValueError, match=r"Invalid input|is not"):
            params.get_param(name).resolve(wrong)


@pytest.mark.parametrize("kind", [Rate, Cut, Moment, Opening, Pause, Cap, Depth])
def test_a_choice_is_taken_as_the_forms_show_it(kind):
    """The default and another choice, as text and tagged, are the enum's values on both engines."""
    first, last = list(kind)[:2]
    chosen = Workflow("chosen", params={"p": first})
    chosen.step("only")(lambda ctx: {"p": ctx.params["p"]})
    assert run_dag(workflow_dag(chosen)).context.get_output("only", "p") == first.value
    assert run_assets(chosen).context.get_output("only", "p") == first.value
    assert run_dag(workflow_dag(chosen), params={"p": last.value}).context.get_output("only", "p") == last.value
    for way in (Parameter.of("p", last).form_default, to_json(last.value)):
        assert workflow_dag(chosen).params.get_param("p").resolve(way) == way
        assert on_airflow({"p": way}, key=None, flow=chosen).params == {"p": last.value}
        assert launched({"p": way}, key=None, flow=chosen) == "ok"


def test_an_adopted_dag_is_warned_of_slips(caplog):
    """In a DAG of the user's own a slip of a reserved name may be a parameter: the log asks, and it stays one."""
    caplog.set_level(logging.WARNING, "flowctx")
    ctx = on_airflow({"partitons": 4, "limmit": 1}, own=False)
    assert ctx.params == {"partitons": 4, "limmit": 1}
    assert [record.getMessage() for record in caplog.records] == [
        "conf['partitons'] is a parameter; did you mean 'partition', which says who the run is?"
    ]
    caplog.clear()
    slips = {"flowctx/batch_id": "b", "as_of": "2026-01-09", "known_at": "2026-01-09T18:00:00Z"}
    assert on_airflow(slips, own=False).batch_id is None
    meant = ("did you mean 'batch_id'", "did you mean 'as_of_date'", "is it to say as of when inputs are read")
    assert all(text in record.getMessage() for text, record in zip(meant, caplog.records, strict=True))
    caplog.clear()
    assert on_airflow({"partitions": 4}, own=False, params={"partitions": 3}).params == {"partitions": 4}
    assert caplog.records == []


def launched(config=None, tags=None, key="A", flow=flow):
    """Return how a run of the workflow's job on Dagster ended, or why Dagster refuses it."""
    job = workflow_definitions(flow).resolve_job_def(f"{flow.name}_job")
    run_config = {
        "resources": {f"{flow.name}_params": {"config": config or {}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        try:
            done = job.execute_in_process(
                run_config=run_config, tags=tags, partition_key=key, instance=instance, raise_on_error=False
            )
        except dg.DagsterInvalidConfigError as exc:
            return f"refused at launch: {exc}"
    failed = [event for event in done.all_events if event.is_step_failure]
    return failed[0].step_failure_data.error.message if failed else "ok"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"config": {"limmit": 4}}, 'refused at launch.*unexpected config entry "limmit"'),
        ({"config": {"bach_id": "b"}}, 'refused at launch.*unexpected config entry "bach_id"'),
        ({"config": {"limit": "abc"}}, "refused at launch.*not valid for expected type"),
        ({"config": {"since": "26/10/2012"}}, "it must be a date"),
        ({"tags": {"flowctx/bach_id": "b"}}, "did you mean 'flowctx/batch_id'"),
        ({"tags": {"flowctx/as_of": "2026-01-09"}}, "did you mean 'flowctx/as_of_date'"),
        ({"tags": {"flowctx/known_at": "2026-01-09T18:00:00Z"}}, "is it to say as of when inputs are read"),
        ({"tags": {"flowctx/note": "b"}}, "means nothing to flowctx; there are batch_id"),
        ({"tags": {"flowctx/partition": "B"}}, "they must mean the same"),
        ({"tags": {"flowctx/as_of_date": "today"}}, "write it as YYYY-MM-DD"),
        (
            {"tags": {"flowctx/batch_id": "b"}, "config": {"batch_id": "c"}},
            "two values of batch_id: its tag flowctx/batch_id says 'b' and its configuration says 'c'; say it once",
        ),
        ({"tags": {"flowctx/batch_id": "b", "batch_id": "c"}}, "and its tag batch_id says 'c'"),
        ({"tags": {"flowctx/as_of_date": "2026-01-09", "as_of_date": "2026-01-10"}}, "two values of as_of_date"),
    ],
)
def test_run_config_and_tags_that_are_misunderstood_fail_the_run(how, words):
    """Dagster refuses at launch what its types say, and the first step whatever else cannot be meant."""
    ended = " ".join(launched(**how).split())
    assert re.search(words, ended), ended


def test_run_config_and_tags_that_are_understood_run():
    """Typed values, tagged values, reserved names, tags of others, and what is said twice alike go through."""
    config = {"since": "2012-10-26", "limit": {"$int": "0x7"}, "batch_id": "b"}
    tags = {"flowctx/partition": "A", "flowctx/batch_id": "b", "team": "data", "owner/name": "x"}
    assert launched(config, tags) == "ok"


def test_an_adopted_asset_is_warned_of_slips(caplog):
    """In an asset of the user's own a tag that looks like one of ours is warned of, and the run goes on."""
    caplog.set_level(logging.WARNING, "flowctx")
    context = dg.build_asset_context(run_tags={"bach_id": "b", "flowctx/typo": "x", "known_at": "x", "team": "data"})
    assert workflow_context(context).batch_id is None
    assert sorted(record.args[0] for record in caplog.records) == ["bach_id", "flowctx/typo", "known_at"]


def on_python(params):
    run(flow, partition="A", params=params)


def on_shell(params):
    ((name, value),) = params.items()
    run(flow, partition="A", params=read_params(flow, {name: value}))


def on_own_dag(params):
    on_airflow(params, own=False)


def on_workflow_dag(params):
    declared = workflow_dag(flow).params  # what Airflow checks when a run is triggered
    for name in params.keys() & declared.keys():
        try:
            declared.get_param(name).resolve(params[name])
        except ValueError:
            return "refused at launch"
    try:
        on_airflow(params)
    except ContextError:
        return "the first step fails"
    return "taken"


def on_dagster(*, config=None, tags=None):
    ended = launched(config, tags)
    return ended if ended == "ok" else "refused at launch" if "refused at launch" in ended else "the first step fails"


def on_own_asset(tags):
    try:
        workflow_context(dg.build_asset_context(run_tags=tags))
    except ContextError:
        return "the asset fails"
    return "taken"


def on_yaml(attributes):
    lines = [f"{name}: {value}" for name, value in {"workflow": "flows:prices", **attributes}.items()]
    try:
        WorkflowComponent.resolve_from_yaml("\n".join(lines))
    except ValueError:
        return "refused when it is loaded"
    return "taken"


configured = Workflow("configured", partitions=PartitionScheme(tier=["A", "B"]))
configured.step("gate", config={"limit": 3})(lambda ctx, config: dict(config))


def configured_in_python(values):
    run(configured, partition="A", step_config={"gate": values})


def configured_on_airflow(values):
    wanted = {"gate": values}
    try:
        workflow_dag(configured).params.get_param("step_config").resolve(wanted)
    except ValueError:
        return "refused at launch"
    try:
        on_airflow({"step_config": wanted}, flow=configured)
    except ContextError:
        return "the first step fails"
    return "taken"


def configured_on_dagster(values):
    ended = launched({"step_config": {"gate": values}}, flow=configured)
    return "taken" if ended == "ok" else "refused at launch" if "refused at launch" in ended else "the first step fails"


UNKNOWN, WRONG, SLIP = {"limmit": "4"}, {"limit": "abc"}, {"bach_id": "b"}
CONFIG = {"colour": "red"}, {"limit": "abc"}, {"limitt": 4}
#: For each row of the table: what is passed to it, and how.
WAYS = {
    "Python": (on_python, (UNKNOWN, WRONG, SLIP)),
    "Shell": (on_shell, (UNKNOWN, WRONG, SLIP)),
    "Airflow: `conf` of a workflow's DAG": (on_workflow_dag, (UNKNOWN, WRONG, SLIP)),
    "Airflow: `conf` of a DAG of your own": (on_own_dag, (UNKNOWN, WRONG, SLIP)),
    "Dagster: run config": (lambda config: on_dagster(config=config), (UNKNOWN, WRONG, SLIP)),
    "Dagster: tags under `flowctx/`": (
        lambda tags: on_dagster(tags=tags),
        ({"flowctx/limmit": "4"}, {"flowctx/as_of_date": "today"}, {"flowctx/bach_id": "b"}),
    ),
    "Dagster: tags of an asset": (on_own_asset, ({"limmit": "4"}, {"as_of_date": "today"}, SLIP)),
    "Dagster: YAML of a `WorkflowComponent`": (on_yaml, ({"colour": "red"}, {"catch_up": "abc"}, {"base_pth": "x"})),
    "`step_config` in Python": (configured_in_python, CONFIG),
    "`step_config` in Airflow's": (configured_on_airflow, CONFIG),
    "`step_config` in Dagster's": (configured_on_dagster, CONFIG),
}
PAGE = Path(__file__).parents[2] / "docs" / "tags-and-conf.md"
TABLE = PAGE.read_text().split("| Way in |")[1].split("\n\n")[0].splitlines()[2:]
CELLS = [
    (row.split("|")[1].strip(), number, cell.strip())
    for row in TABLE
    for number, cell in enumerate(row.split("|")[2:5])
]


@pytest.mark.parametrize(("way", "number", "wanted"), CELLS)
def test_the_table_of_ways_in_is_true(way, number, wanted, caplog):
    """Each way in does with each kind of mistake what the page says."""
    caplog.set_level(logging.WARNING, "flowctx")
    attempt, mistakes = next(how for name, how in WAYS.items() if way.startswith(name))
    try:
        ended = attempt(mistakes[number]) or "taken"
    except ContextError:
        ended = "refused at once"
    heard = [record for record in caplog.records if re.search("which says who|means nothing", record.getMessage())]
    if ended == "taken" and heard:
        ended = "a warning in the log"
    assert ended == wanted


def test_every_way_in_is_in_the_table():
    """The table has one row for each way that is tried."""
    assert [next(name for name in WAYS if row.startswith(f"| {name}")) for row in TABLE] == list(WAYS)


def test_a_slip_in_a_tag_is_in_the_log_of_its_run(capfd):
    """In Dagster the warning stands where people look: in the run's own log, without any configuration of logging."""

    @dg.asset
    def own(context) -> None:
        workflow_context(context)

    dg.materialize([own], tags={"flowctx/bach_id": "x"})
    assert "the run's tag 'flowctx/bach_id' means nothing to flowctx; did you mean" in capfd.readouterr().err
