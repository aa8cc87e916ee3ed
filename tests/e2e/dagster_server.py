"""A server of Dagster's that reads its migrations once: ``python -m e2e.dagster_server MODULE ARGUMENT ...``."""

import runpy
import sys
from importlib import import_module

if __name__ == "__main__":
    import_module("migrations_once")
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
