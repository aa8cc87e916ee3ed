"""For tests of your own workflows, engines and ledgers: contexts, a clock, real engines, and the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowctx.core.errors import MissingExtra
from flowctx.core.lazy_names import lazy_names
from flowctx.testing.clock import FakeClock
from flowctx.testing.contexts import make_context

if TYPE_CHECKING:
    from flowctx.airflow.running import run_dag
    from flowctx.dagster.running import run_assets
    from flowctx.parity import assert_parity
    from flowctx.testing.engines import EngineContract
    from flowctx.testing.ledgers import LedgerContract

__all__ = [
    "EngineContract",
    "FakeClock",
    "LedgerContract",
    "assert_parity",
    "make_context",
    "run_assets",
    "run_dag",
]

# Their modules need pytest or an engine.
_get, __dir__ = lazy_names(
    __name__,
    {
        "EngineContract": "flowctx.testing.engines",
        "LedgerContract": "flowctx.testing.ledgers",
        "assert_parity": "flowctx.parity",
        "run_assets": "flowctx.dagster.running",
        "run_dag": "flowctx.airflow.running",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _get(name)
    except ModuleNotFoundError as exc:
        if exc.name != "pytest":
            raise
        raise MissingExtra(f"flowctx.testing.{name}", "pytest", package="pytest", module="pytest") from exc
