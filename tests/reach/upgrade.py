"""A deployment with history that moves from one Airflow to the next: ``upgrade.py PYTHON PYTHON ...``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from e2e.airflow_stack import AirflowStack, airflow_stack  # noqa: E402
from e2e.processes import inherited  # noqa: E402
from flowctx import Daily, PartitionScheme  # noqa: E402
from postgres import postgres_database, postgres_server  # noqa: E402

SCHEME = PartitionScheme(
    date=Daily(start="2012-10-15", end="2012-10-24", calendar="XNYS", timezone="America/New_York"),
    tier=["T1", "T2", "T5"],
)
#: So many more runs end in each Airflow but the last.
MORE = 9


def run_until(home: Path, database: str, lines: Path, count: int) -> list[str]:
    """Run the Airflow of this environment until so many runs have ended, and return the states of all runs."""
    # With psycopg 3, the migration from 3.1 to 3.2 fails by itself (deadline alerts; seen with 3.2.2 and 3.3.2).
    connection = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.replace("postgresql://", "postgresql+psycopg2://")}
    env = {**inherited("AIRFLOW"), **connection, "AIRFLOW_HOME": f"{home}-migrating"}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, env=env)
    with airflow_stack(home, database, [HERE / "moved_dag.py"], env={"LINES": str(lines)}) as stack:
        stack.wait_until(lambda: ended(stack)["success"] >= count, f"{count} runs", seconds=600)
        return [run["state"] for run in stack.runs("moved")]


def ended(stack: AirflowStack) -> Counter[str]:
    """Count the runs by their states."""
    return Counter(run["state"] for run in stack.runs("moved"))


def moved(pythons: list[str], folder: str, database: str) -> None:
    """Let one Airflow after the other make runs, on the same database."""
    lines, keys = Path(folder, "lines"), {str(key) for key in SCHEME}
    for number, python in enumerate(pythons, 1):
        count = len(keys) if number == len(pythons) else MORE * number
        command = [python, __file__, f"{folder}/{number}", database, str(lines), str(count)]
        subprocess.run(command, check=True)
        ran = Counter(line.split()[0] for line in lines.read_text().splitlines())
        print(f"{python}: {len(ran)} keys so far, {count} runs were waited for")
        assert number == len(pythons) or len(ran) < len(keys), "nothing is left for the next one"
    assert set(ran) == keys, keys ^ set(ran)
    assert set(ran.values()) == {1}, {key: times for key, times in ran.items() if times > 1}


def main(arguments: list[str]) -> None:
    """With the Pythons of some Airflows: let a deployment move through them. With a folder: be one of them."""
    if arguments[-1].isdigit():
        home, database, lines, count = arguments
        print(run_until(Path(home), database, Path(lines), int(count)))
        return
    with (
        tempfile.TemporaryDirectory(prefix="flowctx-reach-") as folder,
        postgres_server() as server,
        postgres_database(server) as database,
    ):
        moved(arguments, folder, database)
    print(f"{len(SCHEME)} keys, each once, on {len(arguments)} Airflows after each other")


if __name__ == "__main__":
    main(sys.argv[1:])
