"""The page of a large batch in a real browser: how soon it is drawn, and how long a scroll and a keystroke take."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from report import console
from rich.table import Table

from flowctx.backfill import render_html
from large_page import COLUMNS, Browser, a_large_batch, browser, chromium

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
