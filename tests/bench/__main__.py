"""Run every benchmark, or those whose names are given: ``python tests/bench partitions``."""

from __future__ import annotations

import importlib
import pathlib
import sys

if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    sys.path.append(str(here.parent))  # what tests share
    wanted = sys.argv[1:]
    for path in sorted(here.glob("bench_*.py")):
        if not wanted or path.stem.removeprefix("bench_") in wanted:
            importlib.import_module(path.stem).main()
