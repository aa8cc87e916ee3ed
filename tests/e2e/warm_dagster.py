"""What a run of Dagster imports and makes once a process; the processes of runs are forked from one that has it."""

import tempfile
from importlib import import_module

import dagster as dg

from adapters.dagster_support import QUIET

import_module("migrations_once")
for name in (
    "dagster._cli",
    "dagster._core.definitions.antlr_asset_selection.antlr_asset_selection",
    "dagster._grpc.server",
    "flowctx.dagster",
    "flowctx.ledger.sql",
    "psycopg",
):
    import_module(name)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["one"]))
def nothing() -> None:
    """Do nothing."""


with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
    dg.materialize([nothing], instance=instance, partition_key="one", run_config=QUIET)

import_module("imports_stay")
