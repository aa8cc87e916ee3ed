"""The world has changed since a batch ran: what is read again, on real engines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from e2e.airflow_stack import AirflowStack
from e2e.dagster_stack import DagsterStack
from e2e.flow_folder import Home

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("engine", ["airflow", "dagster"])
def test_what_was_corrected_is_read_again(
    engine: str, airflow: AirflowStack, dagster: DagsterStack, session: Path
) -> None:
    """A retry repeats what failed and what must be fresh; from a step on, and of skips, what is asked for."""
    urls = {"FLOWCTX_AIRFLOW_URL": airflow.url, "FLOWCTX_AIRFLOW_TOKEN": airflow.token}
    home = Home(session / "moved", {**urls, "FLOWCTX_DAGSTER_URL": dagster.url})
    command = ["backfill", "retried:flow", "--batch", f"retry-{engine}", "--on", engine]

    def calls() -> Counter[str]:
        return Counter((home.folder / f"calls-{engine}").read_text().splitlines())

    (home.folder / "T1.txt").write_text("good")
    (home.folder / "T2.txt").write_text("wrong")
    (home.folder / "T3.txt").unlink(missing_ok=True)
    home.run(*command, code=1)
    first = home.status(f"retry-{engine}")
    assert (first["counts"], first["skips"]) == ({"ok": 1, "skipped": 1, "failed": 1}, {"no file yet": 1})
    advice = home.run("status", f"retry-{engine}")[0]
    assert "--retry-failed --from-step STEP" in " ".join(advice.split())
    once = {"fetch T1": 1, "rates T1": 1, "check T1": 1, "fetch T2": 1, "rates T2": 1, "check T2": 1, "fetch T3": 1}
    assert calls() == once

    for tier in ("T2", "T3"):
        (home.folder / f"{tier}.txt").write_text("good")
    home.run(*command, "--retry-failed", code=1)
    assert calls() == {**once, "rates T2": 2, "check T2": 2}

    home.run(*command, "--retry-failed", "--from-step", "fetch")
    assert calls() == {**once, "fetch T2": 2, "rates T2": 3, "check T2": 3}
    assert home.status(f"retry-{engine}")["counts"] == {"ok": 2, "skipped": 1}

    home.run(*command, "--retry-skipped")
    assert home.status(f"retry-{engine}")["counts"] == {"ok": 3}
    late = {"fetch T3": 2, "rates T3": 1, "check T3": 1}
    assert calls() == {**once, "fetch T2": 2, "rates T2": 3, "check T2": 3, **late}
