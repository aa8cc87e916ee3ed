"""The page of a batch of a hundred thousand partitions in 50 columns, in a browser: `make test-page`."""

from __future__ import annotations

import pytest

from flowctx import PartitionKey
from flowctx.backfill import render_html
from large_page import a_large_batch, browser, chromium

#: Finds a partition on the map, wherever it is: scrolls there, and leaves the place in ``spot``.
_SPOT = """
var spot = (row, column) => {
  const y = drawn.findIndex((line) => line.rows.includes(row)), x = drawn[y].rows.indexOf(row);
  box.scrollTo(column * block - 200, y * high - 60); draw();
  const from = canvas.getBoundingClientRect();
  const across = LEFT + column * block + x * step - box.scrollLeft, down = TOP + y * high - box.scrollTop;
  return {across, down, clientX: from.left + across + 1, clientY: from.top + down + 1, bubbles: true};
};
var stateAt = (row, column) => order[states[row * columns + column]];
"""


@pytest.fixture(scope="module")
def status():
    return a_large_batch()


@pytest.fixture(scope="module")
def opened(status, tmp_path_factory):
    """The page in a browser; where there is none, the tests fail and say what to install."""
    program = chromium()
    if program is None:
        pytest.fail("this needs Chromium: apt-get install chromium", pytrace=False)
    folder = tmp_path_factory.mktemp("page")
    file = folder / "large.html"
    file.write_text(render_html(status), "utf-8")
    with browser(program, folder) as there:
        there.open(file)
        there.run(_SPOT)
        yield there


@pytest.fixture
def page(opened):
    """The page as it is when it is opened."""
    opened.run("for (const b of document.querySelectorAll('#states [aria-pressed=false]')) b.click()")
    typed(opened, "")
    yield opened
    assert opened.problems == []


def typed(page, text):
    page.run(f"$('#filter').value = {text!r}; $('#filter').dispatchEvent(new Event('input')); 0")


def keys(page):
    return page.run("[...document.querySelectorAll('#list tr td:first-child')].map((cell) => cell.textContent)")


def test_it_says_how_all_partitions_stand(page, status):
    """The heading is the batch, and each state has a button with its number, as the ledger counts them."""
    assert page.run("$('h1').textContent") == status.batch.batch_id
    shown = page.run("[...document.querySelectorAll('#states button')].map((b) => b.textContent.split(/ |(?=\\d)/)[0])")
    counts = page.run(
        "[...document.querySelectorAll('#states b')].map((b) => Number(b.textContent.replaceAll(',', '')))"
    )
    assert dict(zip(shown, counts, strict=True)) == dict(status.counts)
    assert sum(counts) == status.total == 100_000


def test_each_partition_is_on_the_map(page, status):
    """The map has each cell of the grid, by its row and column."""
    grid = status.grid
    assert page.run("[grid.rows.length, columns, states.length]") == [
        len(grid.rows),
        len(grid.columns),
        len(grid.cells),
    ]
    letters = page.run(
        "Array.from(states, (s) => Object.entries(letters).find(([, name]) => name === order[s])[0]).join('')"
    )
    assert letters.encode() == bytes(grid.cells)


@pytest.mark.parametrize(
    ("text", "count"), [("2012-05", 31 * 50), ("c07", 2000), ("2012-05 c07", 31), ("none such", 0)]
)
def test_the_filter_narrows(page, text, count):
    """Words narrow by date and by column, and the first two hundred that are left are listed."""
    typed(page, text)
    assert page.run("$('#shown').textContent") == f"{count:,} of 100,000 partitions"
    assert len(keys(page)) == min(count, 200)
    assert all(word in key for key in keys(page) for word in text.split())


def test_a_whole_key_is_one_partition(page):
    """A key as it is shown, with its bar, finds that partition alone."""
    typed(page, "2013-02-03|c11")
    assert keys(page) == ["2013-02-03|c11"]


def test_a_state_can_be_left_out(page, status):
    """A click on a state hides its partitions, and another one shows them again."""
    button = "[...document.querySelectorAll('#states button')].find((b) => b.textContent.startsWith('ok')).click()"
    page.run(button)
    left = status.total - status.counts["ok"]
    assert page.run("$('#shown').textContent") == f"{left:,} of 100,000 partitions"
    page.run(button)
    assert page.run("$('#shown').textContent") == ""


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 49), (1000, 25), (1999, 49)])
def test_the_tip_is_of_the_partition_under_the_mouse(page, status, row, column):
    """Wherever the map has been scrolled to, the tip says which partition it is, and how it stands."""
    page.run(f"canvas.dispatchEvent(new MouseEvent('mousemove', spot({row}, {column})))")
    tip = page.run("$('#tip').textContent")
    assert tip.startswith(f"{status.grid.rows[row]}|{status.grid.columns[column]}")
    assert page.run(f"stateAt({row}, {column})") in tip


@pytest.mark.parametrize("state", ["ok", "failed", "skipped"])
def test_a_partition_has_the_colour_of_its_state(page, state):
    """What is drawn at the place of a partition is the colour that the legend has for its state."""
    found = page.run(
        f"(() => {{ const at = states.indexOf(order.indexOf('{state}'), 40000), [row, column] = place(at);"
        " const there = spot(row, column), ratio = window.devicePixelRatio;"
        " const pixel = pen.getImageData((there.across + 2) * ratio, (there.down + 2) * ratio, 1, 1).data;"
        f" pen.fillStyle = colour('{state}'); return [[...pixel].slice(0, 3), pen.fillStyle]; }})()"
    )
    pixel, colour = found
    assert "#" + "".join(f"{part:02x}" for part in pixel) == colour


def test_a_click_filters_by_the_partition(page, status):
    """A click on a partition puts its key into the filter, which then shows it."""
    page.run("canvas.dispatchEvent(new MouseEvent('click', spot(500, 20)))")
    assert keys(page) == [f"{status.grid.rows[500]}|{status.grid.columns[20]}"]


def test_failures_are_listed_as_the_filter_says(page, status):
    """Of what failed, those are listed whose partition has all words."""
    typed(page, "c03")
    failed = (PartitionKey.parse(run.partition) for run in status.failures)
    cells = page.run("[...document.querySelectorAll('#failed tr td:first-child')].map((cell) => cell.textContent)")
    assert cells == [f"{key.date}|{key.column}" for key in failed if key.column == "c03"]
    assert cells


def test_it_is_drawn_anew_where_the_colours_change(page):
    """In the dark, the map has the colours of the dark."""
    light = page.run("colour('bg')")
    page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.run("new Promise((then) => setTimeout(then, 100))")
    dark = page.run("[colour('bg'), paints.bg]")
    page.ask("Emulation.setEmulatedMedia", features=[])
    assert dark[0] == dark[1] != light
