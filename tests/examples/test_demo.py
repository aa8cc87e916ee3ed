"""The demo, as far as it is not its workflow."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from flowctx.examples.demo import leave_all_places

PLACES = ("AIRFLOW_HOME", "FLOWCTX_LEDGER_URL", "FLOWCTX_ARTIFACTS_URL", "DAGSTER_HOME")


def test_no_place_of_the_user_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow may be a deployment's, which ``run_dag`` refuses; in a ledger, its captures would be current."""
    for name in PLACES:
        monkeypatch.setenv(name, "theirs")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, leave_all_places) as pool:
        assert set(pool.map(os.getenv, PLACES)) == {None}
