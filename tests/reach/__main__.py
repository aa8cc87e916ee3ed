"""Run the adapters' tests, and a real scheduler or daemon, on each minor version of the engines: ``make test-reach``.

Each file beside this one names an engine and all that is installed with it, as of that engine's own time. ``python
tests/reach airflow-3.0.6`` runs one of them; what is installed here, such as ``airflow-3.3.2``, is tried as it is.
Those of older versions of pyarrow, with pandas 2, are for tables. What is found is kept in ``results.json`` and written
into ``docs/versions.md``. Besides: ``lowest``, one run on the oldest version of each engine; ``rolling``, a ledger that
two versions share; ``speed``, ``run_dag`` on all Airflows that are installed, in turns; ``show``, which only writes
the page.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

import results  # noqa: E402

from flowctx.core.engine_versions import numbers  # noqa: E402

ENVIRONMENTS = ROOT / ".cache" / "reach"
#: What has a version that is in the name of its environment, and the package that knows it.
PACKAGES = {"airflow": "apache-airflow-core", "dagster": "dagster", "pyarrow": "pyarrow"}
ENGINES = ("airflow", "dagster")
#: The engines that are installed here, the newest ones.
NEWEST = [f"{engine}-{version(PACKAGES[engine])}" for engine in ENGINES]
#: Newer Pythons, with all that is installed here, where they can be found.
PYTHONS = ["python-3.12", "python-3.13", "python-3.14"]
#: Tests of what Airflow has only from 3.2 on: partition keys, timetables of the SDK, both engines in one process.
SINCE_3_2 = ("run_time", "partitions", "partitions_dag", "endings")
#: Tests that need what the newest Dagster has inside.
NEWEST_DAGSTER = {"test_dagster_inputs"}
#: Whether digests stand, no value is lost, and every table comes back.
OF_TABLES = ("test_digests.py", "test_losses.py", "test_round_trips.py")
#: How many times as long as on the newest Airflow may ``run_dag`` take.
SLOWER = 1.5


def listed() -> list[str]:
    """Return the environments that the files name, the oldest version of each package first."""
    return sorted((file.stem for file in HERE.glob("*.txt")), key=lambda name: numbers(name.partition("-")[2]))


def installed(name: str) -> Path:
    """Make the environment of an engine or of a Python unless it is there, and return its Python."""
    if name in NEWEST:
        return Path(sys.executable)
    python, uv = ENVIRONMENTS / name / "bin" / "python", [sys.executable, "-m", "uv"]
    if name in PYTHONS:
        venv = [*uv, "venv", "-q", "--allow-existing", "--python", name.partition("-")[2], ENVIRONMENTS / name]
        subprocess.run(venv, check=True)
        everything = ["-c", "constraints.txt", "-e", ".[all]", "--group", "dev"]
        subprocess.run([*uv, "pip", "install", "-q", "--python", python, *everything], check=True, cwd=ROOT)
        return python
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", ENVIRONMENTS / name], check=True)
    for what in (["-r", HERE / f"{name}.txt"], ["--no-deps", "--editable", ROOT]):
        if subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *what], check=False).returncode:
            print("uv could not; trying pip ...")
            by_pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *what]
            subprocess.run([*by_pip, "--disable-pip-version-check"], check=True)
    return python


def tests_of(name: str) -> list[Path]:
    """Return the test files that an engine alone can run, or those of tables, or of the core."""
    engine, number = name.split("-")
    if engine == "python":
        return [ROOT / "tests" / folder for folder in ("core", "local")]
    if engine == "pyarrow":
        return [ROOT / "tests/artifacts" / file for file in OF_TABLES]
    left_out = set() if name in NEWEST else set(NEWEST_DAGSTER)
    if engine == "airflow" and numbers(number) < numbers("3.2"):
        left_out |= {f"test_{engine}_{subject}" for subject in SINCE_3_2}
    return [file for file in sorted((ROOT / "tests/adapters").glob(f"test_{engine}_*.py")) if file.stem not in left_out]


def keep_versions(name: str, python: Path) -> None:
    """Keep which versions an environment really has; that of the engine must be that of its name."""
    engine, number = name.split("-")
    code = (
        "import sys, platform, importlib.metadata as m; print(platform.python_version(), *map(m.version, sys.argv[1:]))"
    )
    command = [python, "-c", code, "SQLAlchemy", *filter(None, [PACKAGES.get(engine)])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    of_python, of_sqlalchemy, *of_engine = done.stdout.split()
    assert (of_engine or [of_python])[0].startswith(number), f"{name} has {done.stdout}"
    results.keep(name, "with", {"Python": of_python, "SQLAlchemy": of_sqlalchemy})


def try_tests(name: str, python: Path) -> bool:
    """Run the tests of an environment, keep how many passed, and return whether all did."""
    report = ENVIRONMENTS / f"{name}.xml"
    command = [python, "-m", "pytest", "-q", "-m", "not e2e", f"--junitxml={report}", *tests_of(name)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    results.keep(name, "tests", results.counts(report))
    return code == 0


def try_engine(name: str, python: Path) -> bool:
    """Start a real scheduler or daemon, keep what its last line tells, and return whether it ended well."""
    script = HERE / f"on_{name.partition('-')[0]}.py"
    done = subprocess.run([python, script], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    results.keep(name, "runs", {"a real engine": "failed"} if done.returncode else json.loads(last))
    return done.returncode == 0


def try_script(script: str, python: Path | str, *arguments: Path | str) -> bool:
    """Run a script beside this one, and return whether it ended well."""
    return not subprocess.run([python, HERE / script, *arguments], cwd=ROOT, check=False).returncode


def try_speed() -> bool:
    """Measure ``run_dag`` on all Airflows that are there, and return whether none is much slower than the newest."""
    pythons = {name: ENVIRONMENTS / name / "bin/python" for name in listed() if name.startswith("airflow")}
    pythons = {name: python for name, python in pythons.items() if python.exists()}
    command = [sys.executable, HERE / "speed.py", *(f"{name}={python}" for name, python in pythons.items())]
    done = subprocess.run([*command, f"{NEWEST[0]}={sys.executable}"], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    for name, seconds in found.items():
        results.keep(name, "run_dag", seconds)
        print(f"{name:20} run_dag, ten steps: {seconds}")
    return all(seconds["processor"] <= SLOWER * found[NEWEST[0]]["processor"] for seconds in found.values())


def try_all(name: str, outcomes: dict[str, bool]) -> None:
    """Try all that there is for an environment."""
    try:
        python = installed(name)
    except subprocess.CalledProcessError as exc:
        print(f"{name} cannot be installed: {exc}")
        outcomes[name] = False
        return
    keep_versions(name, python)
    done = [try_tests(name, python)]
    if name.startswith(ENGINES):
        done.append(try_engine(name, python))
    if name.startswith("airflow-3.1"):  # its database moves to the newest Airflow
        done.append(try_script("upgrade.py", sys.executable, python))
    outcomes[name] = all(done)


def main(names: Sequence[str]) -> int:
    """Try each engine, and say at the end what each gave."""
    if names == ["lowest"]:
        oldest = [next(name for name in listed() if name.startswith(engine)) for engine in ENGINES]
        return sum(not try_script("one_run.py", installed(name), name.partition("-")[0]) for name in oldest)
    outcomes: dict[str, bool] = {}
    for name in names or [*listed(), *NEWEST, *PYTHONS, "rolling", "speed"]:
        if name == "rolling":
            outcomes[name] = try_script("rolling.py", sys.executable)
        elif name == "speed":
            outcomes[name] = try_speed()
        elif name != "show":
            try_all(name, outcomes)
    moved = [ENVIRONMENTS / name / "bin/python" for name in outcomes if name.startswith(("airflow-3.1", "airflow-3.2"))]
    if len(moved) > 1:
        outcomes["from 3.1 to 3.2"] = try_script("upgrade.py", sys.executable, *moved)
    results.show()
    for name, good in outcomes.items():
        print(f"{name:20} {'ok' if good else 'failed'}")
    return int(not all(outcomes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
