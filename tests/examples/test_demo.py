"""The demo, as far as it is not its workflow."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from flowctx.examples.demo import begin_alone


def test_the_airflow_of_the_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a deployment's, which ``run_dag`` refuses."""
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, begin_alone, (str(tmp_path / "log"),)) as pool:
        assert pool.submit(os.getenv, "AIRFLOW_HOME").result() is None
