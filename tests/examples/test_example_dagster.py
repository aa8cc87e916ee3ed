"""Every example of Dagster runs."""

import importlib.util
import runpy
import shutil
from pathlib import Path

import dagster as dg
import pytest

from examples.dg_commands import commands
from flowctx import run as run_here
from flowctx.dagster.component import WorkflowScaffolder
from flowctx.examples.prices import SYMBOLS, prices

FOLDER = Path(__file__).parents[2] / "example_dagster"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
IBM = dg.MultiPartitionKey({"date": "2012-10-26", "symbol": "IBM"})


def definitions(name: str) -> dg.Definitions:
    """Return the definitions of an example, loaded as Dagster loads a file."""
    spec = importlib.util.spec_from_file_location(f"example_dagster_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    dg.Definitions.validate_loadable(module.defs)
    return module.defs


def metadata(instance: dg.DagsterInstance, *key: str) -> dict[str, object]:
    """Return the metadata of an asset's latest materialisation."""
    event = instance.get_latest_materialization_event(dg.AssetKey(list(key)))
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(defs: dg.Definitions, instance: dg.DagsterInstance, *selection: object, **about: object) -> None:
    """Materialize assets of an example, all by default."""
    job = dg.define_asset_job("test", selection=dg.AssetSelection.assets(*selection) if selection else "*")
    made = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    assert made.resolve_job_def("test").execute_in_process(instance=instance, run_config=QUIET, **about).success


def test_adoption(instance):
    """Assets that exist already know the session that a day stands for, in ranges too."""
    defs = definitions("adoption")
    run(defs, instance, "loaded", "reported", partition_key="2012-10-28", tags={"batch_id": "b"})
    assert metadata(instance, "loaded") == {"session": "2012-10-26", "capture": "2012-10-28|b"}
    assert metadata(instance, "reported") == {"session": "2012-10-26"}
    span = {"dagster/asset_partition_range_start": "2012-10-27", "dagster/asset_partition_range_end": "2012-10-31"}
    run(defs, instance, "ranged", tags=span)
    assert metadata(instance, "ranged")["sessions"] == ["2012-10-26"] * 4 + ["2012-10-31"]


def test_daily_prices(instance):
    """The whole workflow runs as assets, and an asset of the user's reads what it says."""
    run(definitions("daily_prices"), instance, partition_key=IBM)
    assert metadata(instance, "headline")["text"] == "IBM closed at 193.27"


def test_ops_job(instance):
    """The workflow runs as a job of ops."""
    job = definitions("ops_job").resolve_job_def("daily_prices")
    assert job.execute_in_process(instance=instance, partition_key=IBM, run_config=QUIET).success


def test_weekly(instance):
    """A week takes in its own sessions: Hurricane Sandy closed two days of that one."""
    defs = definitions("weekly")
    steps = [["daily_prices", name] for name in ("fetch", "validate", "returns", "volatility", "summarise")]
    for day in ("2012-10-31", "2012-11-01", "2012-11-02"):
        run(defs, instance, *steps, partition_key=dg.MultiPartitionKey({"date": day, "symbol": "IBM"}))
    week = dg.MultiPartitionKey({"week_ending": "2012-10-27", "symbol": "IBM"})
    run(defs, instance, "week", partition_key=week)
    assert metadata(instance, "week") == {"week ending": "2012-11-02", "sessions": 3, "last close": 193.43}


def test_rollups(instance, tmp_path, monkeypatch):
    """The month is downstream of the prices, and a date takes in what the ledger has of it."""
    defs = definitions("rollups")
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): {parent.to_user_string() for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents["price_month/report"] == {"price_market/breadth"}
    assert defs.get_sensor_def("price_month_inputs").minimum_interval_seconds == 30
    assert parents["price_market/breadth"] == {"daily_prices/returns"}
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    for symbol in SYMBOLS:
        run_here(prices, partition=f"2003-01-06|{symbol}").raise_for_failure()
    run(defs, instance, ["price_market", "breadth"], partition_key="2003-01-06")
    assert metadata(instance, "price_market", "breadth")["stocks"] == 3


@pytest.fixture
def project(tmp_path):
    """A copy of the component project."""
    copy = shutil.copytree(FOLDER / "component_project", tmp_path / "project")
    (copy / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return copy


@pytest.mark.parametrize("folder", ["2026_prices", "fonds_\u00e9", "my-feed"])
def test_what_is_scaffolded_loads(tmp_path, folder):
    """Whatever the folder is called, the workflow in it has a name that it can have."""
    target = tmp_path / folder
    target.mkdir()
    request = dg.ScaffoldRequest(
        type_name="x", target_path=target, scaffold_format="yaml", project_root=tmp_path, params=None
    )
    WorkflowScaffolder().scaffold(request)
    made = runpy.run_path(str(target / "workflow.py"))
    assert list(made["workflow"].steps) == ["fetch"]


@pytest.mark.e2e
def test_component_project(project):
    """The YAML is valid, its definitions are listed, and an asset is launched; a new one is scaffolded."""
    kind = "flowctx.dagster.component.WorkflowComponent"
    with commands() as dg_cli:
        assert kind in dg_cli("list", "components", cwd=project)
        dg_cli("scaffold", "defs", kind, "mine", cwd=project)
        dg_cli("scaffold", "defs", kind, "named", "--workflow", "flowctx.examples.prices:prices", cwd=project)
        assert "workflow: flowctx.examples.prices:prices" in (project / "src/market/defs/named/defs.yaml").read_text()
        shutil.rmtree(project / "src/market/defs/named")
        dg_cli("check", "yaml", cwd=project)
        listed = dg_cli("list", "defs", cwd=project)
        for name in ("daily_prices/summarise", "fx_rates/invert", "mine/fetch", "daily_prices_schedule"):
            assert name in listed
        dg_cli("launch", "--assets", "fx_rates/fetch", "--partition", "2026-01-09", cwd=project)


def test_the_component_loads_in_process(project, monkeypatch):
    """What the YAML says reaches the definitions; each workflow may have a base path and a prefix of its own."""
    monkeypatch.syspath_prepend(str(project / "src"))
    for name, more in (
        ("prices", ["deps: {fetch: [landing/raw]}"]),
        ("fx", ["key_prefix: desk", "io_manager_key: fx_io_manager", "bulk: true"]),
    ):
        with (project / f"src/market/defs/{name}/defs.yaml").open("a") as file:
            file.writelines(f"  {line}\n" for line in (f"base_path: outputs/{name}", *more))
    from market.definitions import defs

    graph = defs().resolve_asset_graph()
    node = graph.get(dg.AssetKey(["daily_prices", "fetch"]))
    assert (node.group_name, list(node.owners)) == ("market", ["team:data"])
    assert node.parent_keys == {dg.AssetKey(["landing", "raw"])}
    fx = graph.get(dg.AssetKey(["desk", "fx_rates", "fetch"]))
    assert fx.backfill_policy == dg.BackfillPolicy.single_run()
    assert fx.parent_keys == {dg.AssetKey("landing_zone")}
    stores = {key: store.base_path for key, store in defs().resources.items() if key.endswith("io_manager")}
    assert stores == {"workflow_io_manager": "outputs/prices", "fx_io_manager": "outputs/fx"}
    assert [job.name for job in defs().jobs if job.name.endswith("__bulk")] == ["fx_rates__bulk"]
