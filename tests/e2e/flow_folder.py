"""A workflow of partitions, one of which fails until a file is there; and the command that launches it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from flowctx.core.durability.ledger import Ledger
from flowctx.ledger import open_ledger

FLOW = """
import time
from pathlib import Path
from flowctx import Daily, PartitionScheme, StepResult, Workflow

flow = Workflow(
    Path(__file__).stem,
    partitions=PartitionScheme(
        date=Daily(start="2012-01-03", end="2012-01-12", calendar="XNYS", timezone="America/New_York"),
        tier=["T1", "T2", "T5"],
    ),
    params={"limit": 1},
)
MENDED = Path(__file__).with_name("mended")
CALLS = Path(__file__).with_name("calls")
CHECKS = Path(__file__).with_name("checks")
SLOW = Path(__file__).with_name("slow")


@flow.step()
def load(ctx):
    if SLOW.exists():
        time.sleep(20)
    if ctx.partition.tier == "T5" and ctx.as_of_date.day == 3:
        return StepResult.skip("nothing to load")
    with CALLS.open("a") as calls:
        calls.write(f"{ctx.partition} {ctx.batch_id} {ctx.capture_id}\\n")
    return {"limit": ctx.params["limit"]}


@flow.step()
def check(ctx):
    if str(ctx.partition) == "date=2012-01-05|tier=T2" and not MENDED.exists():
        return StepResult.fail("12 rows are missing", category="DATA_QUALITY")
    with CHECKS.open("a") as checks:
        checks.write(f"{ctx.partition} {ctx.batch_id}\\n")
    return {"checked": ctx.get_output("load", "limit")}
"""
#: Net asset values, each from the date before; and the weeks that read them.
CHAIN = """
from flowctx import Daily, PartitionScheme, StepResult, Weekly, Workflow

chain = Workflow(
    "chained",
    partitions=PartitionScheme(
        fund=["A", "B"], date=Daily(start="2012-01-03", end="2012-03-28", calendar="XNYS", timezone="America/New_York")
    ),
    params={"factor": 2.0, "fails": ""},
)
weeks = Workflow(
    "chained_weeks",
    partitions=PartitionScheme(
        fund=["A", "B"], week=Weekly(start="2012-01-05", end="2012-03-22", ends_on="THU", timezone="America/New_York")
    ),
)


@chain.step(inputs={"yesterday": chain.output("value").previous()})
def value(ctx, *, yesterday):
    if str(ctx.partition) == ctx.params["fails"]:
        return StepResult.fail("no prices", category="DATA_QUALITY")
    return {"nav": ctx.params["factor"] * (1 if yesterday is None else yesterday["nav"])}


@chain.step(inputs={"window": chain.output("value").previous(20)})
def total(ctx, *, window):
    return {"sum": ctx.get_output("value", "nav") + sum(output["nav"] for output in window.values())}


@weeks.step(inputs={"days": chain.output("value")})
def highest(ctx, *, days):
    return {"days": len(days), "nav": max(output["nav"] for output in days.values())}
"""
#: 3 sessions and 3 tiers.
ALL = "date=2012-01-03..2012-01-05"
TOTAL = 9
BAD = "date=2012-01-05|tier=T2"


def write_flow(folder: Path, name: str, text: str = FLOW) -> None:
    """Write the workflow into a module, by whose name it is called."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{name}.{os.getpid()}"
    new.write_text(text)
    new.replace(folder / f"{name}.py")  # somebody may be reading it


class Home:
    """A folder with a ledger, in which ``flowctx`` is run."""

    def __init__(self, folder: Path, env: Mapping[str, str], ledger_url: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ledger_url = ledger_url or f"sqlite:///{folder / 'ledger.db'}"
        self.env = {**os.environ, **env, "FLOWCTX_LEDGER_URL": self.ledger_url}

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, as it is whenever it is asked."""
        return open_ledger(self.ledger_url)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start ``flowctx ...``."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-m", "flowctx.cli", *args], cwd=self.folder, env=self.env, **pipes)

    def run(self, *args: str, code: int = 0) -> tuple[str, str]:
        """Run ``flowctx ...`` to its end, which must be with a certain exit code."""
        process = self.start(*args)
        out, err = process.communicate(timeout=800)
        assert process.returncode == code, f"flowctx {' '.join(args)}: {process.returncode}\n{out}\n{err}"
        return out, err

    def kill_when(self, holds: Callable[[], bool], *args: str) -> None:
        """Start ``flowctx ...`` and kill it, as the machine would, when something holds."""
        process = self.start(*args)
        self.wait_for(process, holds)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def wait_for(self, process: subprocess.Popen[str], holds: Callable[[], bool]) -> None:
        """Wait until something holds, while a command runs."""
        end = time.monotonic() + 600
        while not holds():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "it never did hold"
            time.sleep(0.1)

    def status(self, batch_id: str, *args: str) -> dict[str, Any]:
        """Return what ``flowctx status --json`` says."""
        found: dict[str, Any] = json.loads(self.run("status", batch_id, "--json", *args)[0])
        return found

    def known(self, batch_id: str) -> int:
        """Count the partitions of which the ledger knows something."""
        return len(list(self.ledger.batches.iter_outcomes(batch_id)))

    def checked(self, batch_id: str) -> set[str]:
        """Return the partitions of a batch of which the second step has run."""
        lines = [line.split(" ") for line in (self.folder / "checks").read_text().splitlines()]
        return {partition for partition, batch in lines if batch == batch_id}

    def calls(self) -> Iterator[tuple[str, str, str]]:
        """Yield partition, batch and capture of each call of the first step."""
        for line in (self.folder / "calls").read_text().splitlines():
            partition, batch_id, capture_id = line.split(" ")
            yield partition, batch_id, capture_id
