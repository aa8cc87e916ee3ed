"""Run the adapters' tests, and a real scheduler, on the oldest engines of each minor version: ``make test-reach``.

Each file beside this one names an engine and all that is installed with it, as of that engine's own time. ``python
tests/reach airflow-3.0.6`` runs one of them. Those of older versions of pyarrow, with pandas 2, are for tables.
Besides: ``lowest``, one run on the oldest version of each engine; ``rolling``, a ledger that two versions share.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flowctx.core.engine_versions import numbers

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".cache" / "reach"
#: Tests of what Airflow has only from 3.2 on: partition keys, timetables of the SDK, both engines in one process.
SINCE_3_2 = ("run_time", "partitions", "partitions_dag", "endings")
#: Tests that need what the newest Dagster has inside.
NEWEST_DAGSTER = {"test_dagster_inputs"}
#: Whether digests stand and no value is lost.
OF_TABLES = ("test_digests.py", "test_losses.py")


def installed(name: str) -> Path:
    """Make the environment of an engine unless it is there, and return its Python."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENTS / name], check=True)
    for what in (["-r", HERE / f"{name}.txt"], ["--no-deps", "--editable", ROOT]):
        by_uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, *what]
        if subprocess.run(by_uv, check=False).returncode:
            print("uv could not; trying pip ...")
            by_pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
            subprocess.run(by_pip, check=True)
    return python


def tests_of(name: str) -> list[Path]:
    """Return the test files that an engine alone can run, or those of tables."""
    engine, version = name.split("-")
    if engine == "pyarrow":
        return [ROOT / "tests/artifacts" / file for file in OF_TABLES]
    left_out = set(NEWEST_DAGSTER)
    if engine == "airflow" and version < "3.2":
        left_out |= {f"test_{engine}_{subject}" for subject in SINCE_3_2}
    return [file for file in sorted((ROOT / "tests/adapters").glob(f"test_{engine}_*.py")) if file.stem not in left_out]


def try_lowest() -> int:
    """Run a workflow on the oldest version of each engine."""
    files = sorted((file.stem for file in HERE.glob("*.txt")), key=lambda name: numbers(name.partition("-")[2]))
    failed = 0
    for engine in ("airflow", "dagster"):
        python = installed(next(name for name in files if name.startswith(engine)))
        failed |= subprocess.run([python, HERE / "one_run.py", engine], cwd=ROOT, check=False).returncode
    return failed


def main(names: list[str]) -> int:
    """Try each engine, and say at the end what each gave."""
    if names == ["lowest"]:
        return try_lowest()
    outcomes = {}
    for name in names or [*sorted(file.stem for file in HERE.glob("*.txt")), "rolling"]:
        if name == "rolling":
            done = subprocess.run([sys.executable, HERE / "rolling.py"], cwd=ROOT, check=False)
            outcomes[name] = "failed" if done.returncode else "ok"
            continue
        python = installed(name)
        done = subprocess.run([python, "-m", "pytest", "-q", "-m", "not e2e", *tests_of(name)], cwd=ROOT, check=False)
        codes = [done.returncode]
        if name.startswith("airflow"):
            codes.append(subprocess.run([python, HERE / "scheduler.py"], cwd=ROOT, check=False).returncode)
        if name.startswith("airflow-3.1"):  # its database moves to the newest Airflow
            codes.append(
                subprocess.run([sys.executable, HERE / "upgrade.py", python], cwd=ROOT, check=False).returncode
            )
        outcomes[name] = "ok" if not any(codes) else "failed"
    moved = [
        ENVIRONMENTS / name / "bin" / "python" for name in outcomes if name.startswith(("airflow-3.1", "airflow-3.2"))
    ]
    if len(moved) > 1:
        done = subprocess.run([sys.executable, HERE / "upgrade.py", *moved], cwd=ROOT, check=False)
        outcomes["from 3.1 to 3.2"] = "failed" if done.returncode else "ok"
    for name, outcome in outcomes.items():
        print(f"{name:20} {outcome}")
    return int("failed" in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
