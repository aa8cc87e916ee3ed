"""Which Dagster is there, and what it can."""

from __future__ import annotations

from types import MappingProxyType

from flowctx.core.engine_versions import Ability, Engine

DAGSTER = Engine(
    "Dagster",
    extra="dagster",
    packages=("dagster",),
    lowest="1.11.8",
    abilities=MappingProxyType(
        {
            "partitioned checks": Ability("1.12.13", "all partitions share one check"),
            "partitioned assets in runs without a partition": Ability("1.12.22", "Dagster itself refuses such a run"),
        }
    ),
)

DAGSTER.check()
