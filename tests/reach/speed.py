"""How long ``run_dag`` takes for ten steps on each Airflow, in turns: ``speed.py NAME=PYTHON NAME=PYTHON ...``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from statistics import median

#: So many times each of them runs; the first time, which is before that, does not count.
ROUNDS = 5


def measured() -> None:
    """Run ten steps for each line that is read, and print how many seconds that took; the first run is not told."""
    from flowctx import Workflow
    from flowctx.airflow import workflow_dag
    from flowctx.testing import run_dag

    ten = Workflow("ten")
    for number in range(10):
        ten.step(f"s{number}", config={"number": number})(lambda ctx, config: {"number": config["number"]})
    dag = workflow_dag(ten)
    run_dag(dag).raise_for_failure()
    print("ready", flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        run_dag(dag).raise_for_failure()
        print("took", json.dumps([time.perf_counter() - began, time.process_time() - used]), flush=True)


def started(python: str) -> subprocess.Popen[str]:
    """Start one Airflow; it has run once when it says so."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "FLOWCTX"))}
    command = [python, __file__, "measured"]
    process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    while (line := process.stdout.readline().strip()) != "ready":  # Airflow prints, too
        assert line or process.poll() is None, f"{python} has ended"
    return process


def once(process: subprocess.Popen[str]) -> list[float]:
    """Let one of them run the steps, and return its seconds: those that passed, and those of its processor."""
    assert process.stdin is not None
    assert process.stdout is not None
    print("go", file=process.stdin, flush=True)
    while not (line := process.stdout.readline()).startswith("took "):
        assert line, "it has ended"
    found: list[float] = json.loads(line.removeprefix("took "))
    return found


def main(arguments: list[str]) -> None:
    """Measure all of them in turns, and print the medians as JSON."""
    processes = {name: started(python) for name, _, python in (argument.partition("=") for argument in arguments)}
    seconds: dict[str, list[list[float]]] = {name: [] for name in processes}
    for _ in range(ROUNDS):
        for name, process in processes.items():
            seconds[name].append(once(process))
    for process in processes.values():
        process.communicate()
    medians = {name: [round(median(column), 3) for column in zip(*rows, strict=True)] for name, rows in seconds.items()}
    print(json.dumps({name: {"wall": wall, "processor": used} for name, (wall, used) in medians.items()}))


if __name__ == "__main__":
    measured() if sys.argv[1:] == ["measured"] else main(sys.argv[1:])
