"""The page of a large batch in a real browser: how soon it is drawn, and how long a scroll and a keystroke take."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from report import console
from rich.table import Table
from websockets.sync.client import ClientConnection, connect

from flowctx import BatchStatus, Daily, PartitionScheme, Workflow
from flowctx.backfill import render_html
from flowctx.core.batches.records import BatchRecord, PartitionRun, PartitionState
from flowctx.ledger import open_ledger
from flowctx.testing.clock import NOON

#: So many dates and columns; 2,000 of 50 are a hundred thousand partitions.
DATES, COLUMNS = int(os.environ.get("FLOWCTX_BENCH_DATES", "2000")), 50

#: What is asked of the page: each gives a name and milliseconds, or raises.
_ASKED = """
(async () => {
  const frame = () => new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
  const must = (holds, what) => { if (!holds) throw new Error(what); };
  const timed = async (work) => {
    const from = performance.now(); work(); const worked = performance.now(); await frame();
    return [worked - from, performance.now() - from];
  };
  const middle = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const found = {"first drawn after navigation": [paint ? paint.startTime : null]};
  found["script and data done"] = [performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd];
  const map = document.querySelector("#grid"), input = document.querySelector("#filter");
  const steps = [];
  const moved = (i) => () => { map.scrollLeft = i * 120; map.scrollTop = i * 9; draw(); };
  for (let i = 1; i <= 40; i++) steps.push((await timed(moved(i)))[0]);
  found["one redraw while scrolling, median of 40"] = [middle([...steps])];
  found["one redraw while scrolling, longest"] = [Math.max(...steps)];
  must(map.scrollLeft > 1000, "the map does not scroll");
  const keys = [];
  const type = (text) => () => { input.value = text; input.dispatchEvent(new Event("input")); };
  for (let i = 1; i <= 11; i++) keys.push((await timed(type("2012-05 c07".slice(0, i))))[1]);
  found["a keystroke in the filter until it is drawn, median of 11"] = [middle([...keys])];
  found["a keystroke in the filter until it is drawn, longest"] = [Math.max(...keys)];
  const shown = document.querySelector("#shown"), tip = document.querySelector("#tip");
  must(shown.textContent.startsWith("@MAY@ of"), shown.textContent);
  type("")(); map.scrollTo(0, 0); await frame();
  const at = canvas.getBoundingClientRect();
  const over = {clientX: at.left + LEFT + 2, clientY: at.top + TOP + 2, bubbles: true};
  found["the tip over a partition"] = [(await timed(() => canvas.dispatchEvent(new MouseEvent("mousemove", over))))[1]];
  must(tip.textContent.startsWith("@FIRST@"), tip.textContent);
  canvas.dispatchEvent(new MouseEvent("mouseleave"));
  return found;
})()
"""


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

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, and return what it gives."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=120))
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


def main() -> None:
    """Make the page, open it, ask, and print."""
    program = chromium()
    if program is None:
        console.print("The page of a large batch is not measured; that needs Chromium: apt-get install chromium")
        return
    with tempfile.TemporaryDirectory(prefix="flowctx-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(os.environ.get("FLOWCTX_BENCH_FOLDER", name))  # where the page and pictures of it are kept
        start = time.perf_counter()
        status = a_large_batch()
        known = time.perf_counter()
        text = render_html(status)
        made = time.perf_counter()
        page = folder / "large.html"
        page.write_text(text)
        title = f"The page of {status.total:,} partitions in {COLUMNS} columns, {len(text) / 1e6:.1f} MB"
        table = Table(title=title, caption="budget: open within 1 s", title_justify="left")
        for column in ("what", "milliseconds"):
            table.add_column(column, justify="left" if column == "what" else "right")
        table.add_row("make the batch, and read how it stands", f"{(known - start) * 1000:,.0f}")
        table.add_row("make the page", f"{(made - known) * 1000:,.0f}")
        with browser(program, Path(name)) as there:
            for what, (took,) in _asked(there, page, folder).items():
                table.add_row(what, f"{took:,.1f}")
        console.print(table)


def _asked(there: Browser, page: Path, folder: Path) -> dict[str, list[float]]:
    """Open the page, take pictures of it, and return how long what takes."""
    there.open(page)
    there.picture(folder / "large.png")
    found: dict[str, list[float]] = there.run(_ASKED.replace("@FIRST@", "2012-01-02|c00").replace("@MAY@", "31"))
    there.run("document.querySelector('#map').scrollIntoView(); document.querySelector('#grid').scrollTo(3000, 200)")
    there.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    there.run("new Promise((then) => setTimeout(then, 300))")
    there.picture(folder / "large-dark.png")
    return found


if __name__ == "__main__":
    main()
