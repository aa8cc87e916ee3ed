"""Materialisations that are reported together: Dagster knows of them what it knows of those logged one by one."""
# No `from __future__ import annotations`: Dagster 1.13 refuses a decorated function whose `context` has one.

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy

from flowctx.dagster._compat import report_materializations
from postgres import postgres_database, postgres_server

STEPS = ["load", "check"]
KEYS = [dg.MultiPartitionKey({"date": f"2012-01-{day:02}", "tier": "T1"}) for day in range(2, 7)]
#: That on PostgreSQL is a package of its own, and not there with each Dagster that this is run with.
STORAGES = ["sqlite", "memory", *(["postgres"] if find_spec("dagster_postgres") else [])]
MATERIALIZED = dg.DagsterEventType.ASSET_MATERIALIZATION


def made(key: dg.AssetKey, partition: str) -> dg.AssetMaterialization:
    """Return a materialisation with all that one may have."""
    tags = {"dagster/data_version": f"v{partition}", "dagster/partition/date": partition[:10], "desk": "rates"}
    return dg.AssetMaterialization(key, description="it is", partition=partition, metadata={"rows": 1}, tags=tags)


def one_by_one(context: dg.OpExecutionContext) -> None:
    """Log each."""
    for partition in KEYS:
        for step in STEPS:
            context.log_event(made(dg.AssetKey(["single", step]), partition))


def together(context: dg.OpExecutionContext) -> None:
    """Report several, one partition alone, and none."""
    for some in (KEYS[:4], KEYS[4:], []):
        events = [made(dg.AssetKey(["many", step]), partition) for partition in some for step in STEPS]
        report_materializations(context, events)


@pytest.fixture
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with an event log of some kind."""
    with ExitStack() as held:
        if request.param == "memory":  # it cannot write several at once
            yield held.enter_context(dg.DagsterInstance.ephemeral())
            return
        settings: dict[str, Any] = {}
        if request.param == "postgres":
            plain_url = held.enter_context(postgres_database(held.enter_context(postgres_server())))
            url = sqlalchemy.engine.make_url(plain_url).set(drivername="postgresql+psycopg2")  # the driver it knows
            settings = {"storage": {"postgres": {"postgres_url": url.render_as_string(hide_password=False)}}}
        yield held.enter_context(dg.DagsterInstance.local_temp(str(tmp_path), overrides=settings))


@pytest.mark.parametrize("instance", STORAGES, indirect=True)
def test_reported_together_is_as_logged_one_by_one(instance: dg.DagsterInstance) -> None:
    """The run's log, the assets, their partitions, latest materialisations, tags and data versions are the same."""
    single, many = (known(instance, *how) for how in ((one_by_one, "single"), (together, "many")))
    assert many == single
    assert [len(facts["log"]) for facts in many.values()] == [len(KEYS), len(KEYS)]


def test_many_are_written_to_sqlite_in_as_few_transactions_as_one(tmp_path: Path) -> None:
    """Fifty events of an asset are committed as often as a single one, and whoever listens hears of each."""
    commits: list[list[Any]] = []

    def committed(connection: Any) -> None:
        commits[-1].append(connection)

    heard: list[Any] = []

    def report(context: dg.OpExecutionContext) -> None:
        context.instance.add_event_listener(context.run_id, heard.append)
        for count in (1, 1, 50):  # the first one makes files and tables
            commits.append([])
            sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", committed)
            report_materializations(context, [dg.AssetMaterialization("load", partition=str(n)) for n in range(count)])
            sqlalchemy.event.remove(sqlalchemy.engine.Engine, "commit", committed)

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run(instance, report)
        assert len(instance.get_materialized_partitions(dg.AssetKey("load"))) == 50
    _, one, fifty = map(len, commits)
    assert 0 < fifty == one
    assert sum(event.dagster_event.is_step_materialization for event in heard) == 52


def run(instance: dg.DagsterInstance, report: Callable[[dg.OpExecutionContext], None]) -> str:
    """Run an op that reports, and return the run's id."""

    @dg.op(name="report", out=dg.Out(dg.Nothing))
    def op(context) -> None:  # type: ignore[no-untyped-def]
        report(context)

    job = dg.GraphDefinition(name="bulk", node_defs=[op]).to_job(executor_def=dg.in_process_executor)
    return job.execute_in_process(instance=instance).run_id


def known(
    instance: dg.DagsterInstance, report: Callable[[dg.OpExecutionContext], None], prefix: str
) -> dict[str, dict[str, Any]]:
    """Run an op that reports, and return what Dagster knows of the assets of a prefix after it."""
    run_id = run(instance, report)
    entries = instance.all_logs(run_id, of_type=MATERIALIZED)
    return {step: known_of(instance, dg.AssetKey([prefix, step]), entries) for step in STEPS}


def known_of(instance: dg.DagsterInstance, key: dg.AssetKey, entries: Sequence[dg.EventLogEntry]) -> dict[str, Any]:
    """Return what is known of an asset."""
    storage, latest = instance.event_log_storage, instance.get_latest_materialization_event(key)
    assert latest is not None
    (asset,) = instance.get_asset_records([key])
    ids = storage.get_latest_storage_id_by_partition(key, MATERIALIZED)
    return {
        "log": [plain(one) for one in entries if one.get_dagster_event().asset_key == key],
        "records": [plain(one.event_log_entry) for one in instance.fetch_materializations(key, limit=99).records],
        "latest": plain(latest),
        "latest run": asset.asset_entry.last_run_id == latest.run_id,
        "partitions": instance.get_materialized_partitions(key),
        "order": sorted(ids, key=lambda partition: ids[partition]),
        "tags": storage.get_latest_tags_by_partition(
            key, MATERIALIZED, ["dagster/data_version", "dagster/partition/date"]
        ),
    }


def plain(entry: dg.EventLogEntry) -> dict[str, Any]:
    """Return an event as it is stored, without what is different in each run."""
    assert time.time() - 60 < entry.timestamp <= time.time()
    text = dg.serialize_value(entry).replace(entry.run_id, "")
    stored: dict[str, Any] = json.loads(text.replace('"single"', '"asset"').replace('"many"', '"asset"'))
    return {**stored, "timestamp": None}
