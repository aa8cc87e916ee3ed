"""The page of a large batch, and a browser to look at it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from flowctx import BatchStatus, Daily, PartitionScheme, Workflow
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.ledger import open_ledger
from flowctx.testing.clock import NOON

#: So many dates and columns; 2,000 of 50 are a hundred thousand partitions.
DATES, COLUMNS = int(os.environ.get("FLOWCTX_BENCH_DATES", "2000")), 50


def a_large_batch() -> BatchStatus:
    """Return how a batch of 2,000 days and 50 columns stands: most are ok, some failed, and the last are missing."""
    names = [f"c{number:02}" for number in range(COLUMNS)]
    flow = Workflow("large", partitions=PartitionScheme(date=Daily(start="2012-01-02"), column=names))
    ledger = open_ledger("memory://")
    days = f"date=2012-01-02..{(NOON.replace(year=2012, month=1, day=2) + timedelta(days=DATES - 1)).date()}"
    ledger.batches.put(BatchRecord(batch_id="large", workflow=flow.name, selection=days, created_at=NOON))
    ledger.batches.record_outcomes("large", list(_outcomes(flow.partitions.select(days))))
    return BatchStatus.of(ledger, "large", flow)


def _outcomes(keys: Any) -> Iterator[PartitionRun]:
    for number, key in enumerate(keys):
        if number > len(keys) * 0.9:
            return
        state = "failed" if number % 199 == 7 else "skipped" if number % 61 == 3 else "ok"
        yield PartitionRun(
            partition=str(key),
            state=PartitionState(state),
            run_id=f"run-{number}",
            engine="local",
            started_at=NOON,
            ended_at=NOON + timedelta(milliseconds=number % 5000),
            last_seen_at=NOON,
            error="step 'load': no rows" if state == "failed" else None,
        )


class Browser:
    """A page in a headless Chromium, spoken to by its own protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        #: What scripts have raised.
        self.problems: list[str] = []

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, and return what it gives."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
            if answer.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(answer["params"]["exceptionDetails"]))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise SystemExit(f"the browser refuses {method}: {answer['error']}")
                return dict(answer["result"])

    def run(self, script: str) -> Any:
        """Return what a script gives."""
        found = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise SystemExit(f"the page is wrong: {found['exceptionDetails']}")
        return found["result"].get("value")

    def open(self, page: Path) -> None:
        """Open a page, and wait until it is drawn."""
        self.ask("Page.enable")
        self.ask("Runtime.enable")  # to be told of what is raised
        self.ask("Page.navigate", url=page.as_uri())
        drawn = "document.readyState === 'complete' && performance.getEntriesByType('paint').length > 0"
        until = time.monotonic() + 60
        while not self.run(drawn):
            if time.monotonic() > until:
                raise SystemExit("the page was not drawn within a minute")
            time.sleep(0.05)

    def picture(self, file: Path) -> None:
        """Write what can be seen to a PNG file."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


def chromium() -> str | None:
    """Return where Chromium is."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Browser]:
    """Start a browser of its own, and end it."""
    flags = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--window-size=1280,1000"]
    command = [program, *flags, f"--user-data-dir={folder / 'browser'}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = folder / "browser" / "DevToolsActivePort"
        until = time.monotonic() + 60
        while not (port.exists() and port.read_text().strip()):
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit("Chromium did not start")
            time.sleep(0.1)
        at = port.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{at}/json/list", timeout=30) as answer:
            address = next(page for page in json.load(answer) if page["type"] == "page")["webSocketDebuggerUrl"]
        with connect(address, max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(30)
