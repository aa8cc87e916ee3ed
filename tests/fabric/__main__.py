"""Run batches on an Airflow with two Celery workers: ``make test-fabric``; see :mod:`two_workers`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> int:
    """Make the environment, and try all of it in there."""
    environment = ROOT / ".cache" / "fabric"
    python, uv = environment / "bin" / "python", [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--clear", environment], check=True)
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, "-r", HERE / "celery.txt"], check=True)
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, "--no-deps", "--editable", ROOT], check=True)
    return subprocess.run([python, HERE / "two_workers.py"], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
