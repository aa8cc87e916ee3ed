"""Build what is published, look into it, and install it where nothing else is: ``make package``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST, EMPTY = ROOT / ".cache" / "dist", ROOT / ".cache" / "empty"
#: Extras that are installed; ``make setup`` installs those of the engines.
EXTRAS = ("calendars", "postgres", "tables")
ENTRY_POINTS = {
    "console_scripts": ["flowctx"],
    "apache_airflow_provider": ["provider_info"],
    "airflow.plugins": ["flowctx"],
    "dagster_dg_cli.registry_modules": ["flowctx"],
}
LISTING = """
import json
from importlib.metadata import distribution, entry_points
own = [point for point in distribution("flowctx").entry_points]
print(json.dumps([[point.group, point.name] for point in own]))
"""
RUNNING = """
from flowctx import PartitionScheme, Workflow, run
nav = Workflow("nav", partitions=PartitionScheme(fund=["A"]))
nav.step(name="value")(lambda ctx: {"nav": 1.5})
assert run(nav, partition={"fund": "A"}).context.get_output("value", "nav") == 1.5
"""


def main() -> None:
    """Build, look, install and run; an exception says what is wrong."""
    wheel, sdist = built()
    run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
    look_into(wheel, sdist)
    python, bin_folder = installed(str(wheel))
    assert run(bin_folder / "flowctx", "--version").startswith("flowctx")
    found = {row["what"]: row for row in json.loads(run(bin_folder / "flowctx", "doctor", "--json"))["checks"]}
    absent = {name for name, row in found.items() if "not installed" in row["note"]}
    assert absent == {"pyarrow", "numpy", "psycopg", "exchange_calendars", "Airflow", "Dagster"}, absent
    run(python, "-c", RUNNING)
    points: dict[str, list[str]] = {}
    for group, name in json.loads(run(python, "-c", LISTING)):
        points.setdefault(group, []).append(name)
    assert points == ENTRY_POINTS, points
    for extra in EXTRAS:
        install(python, f"flowctx[{extra}] @ {wheel.as_uri()}")
    print(f"{wheel.name} and {sdist.name}: built, looked into, installed alone and with {', '.join(EXTRAS)}")


def built() -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it."""
    for file in DIST.glob("*"):
        file.unlink()
    build = (sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT))
    by_uv_or_pip((*build, "--installer", "uv"), build)
    [wheel], [sdist] = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return wheel, sdist


def look_into(wheel: Path, sdist: Path) -> None:
    """See that the wheel has all that the source tree has and nothing else, and the sdist what a builder needs."""
    source = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if path.is_file()}
    source = {name for name in source if "__pycache__" not in name}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == source, inside ^ source
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    missing = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "src/flowctx/py.typed"} - members
    assert not missing, missing
    strange = {name for name in members if name.startswith((".cache", ".venv")) or "__pycache__" in name}
    assert not strange, strange


def installed(wheel: str) -> tuple[Path, Path]:
    """Install the wheel into an environment in which nothing is, and return its Python and its scripts."""
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(EMPTY))
    python = EMPTY / "bin" / "python"
    install(python, wheel)
    return python, python.parent


def install(python: Path, what: str) -> None:
    """Install something as ``make setup`` does."""
    by_uv = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, what)
    pip = (sys.executable, "-m", "pip", "--python", python)
    by_uv_or_pip(by_uv, (*pip, "install", "--quiet", "--disable-pip-version-check", what))


def by_uv_or_pip(by_uv: Sequence[str | Path], by_pip: Sequence[str | Path]) -> None:
    """Run the command that takes uv, or the one that takes pip where uv cannot reach the package index."""
    try:
        run(*by_uv)
    except AssertionError as exc:
        print(f"uv could not ({str(exc).splitlines()[-1][:200]}); trying pip ...")
        run(*by_pip)


def run(*command: str | Path) -> str:
    """Run a command to its end, which must be a good one, and return what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCTX_")}
    env["XDG_STATE_HOME"] = str(EMPTY / "state")  # not the ledger of whoever runs this
    done = subprocess.run([*map(str, command)], cwd=DIST.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{_shown(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _shown(command: Sequence[str | Path]) -> str:
    return " ".join(map(str, command))[:200]


if __name__ == "__main__":
    main()
