"""Dagster's code server, whose runs are forked from a process that has Dagster imported: ``python -m e2e.code_server``.

Dagster starts each run as a new Python, which spends a second or two on importing Dagster. Its executors can be told to
fork instead; its code server cannot, so it is told here. Nothing else about a run is different.
"""

import multiprocessing
import sys
from multiprocessing import context

from dagster._cli import main

if __name__ == "__main__":
    # Flows are not in it: each run imports its own.
    multiprocessing.set_forkserver_preload(["e2e.warm_dagster"])
    context._concrete_contexts["spawn"] = multiprocessing.get_context("forkserver")  # type: ignore[attr-defined]
    sys.argv[1:1] = ["api", "grpc"]
    main()
