"""The example in a notebook runs from the first cell to the last, and shows what it says."""

import re
import subprocess
import sys
from html import unescape

import pytest

from documentation.pages import ROOT

NOTEBOOK = ROOT / "docs/notebook.ipynb"


@pytest.mark.e2e
def test_the_notebook_runs(tmp_path):
    """Workflow, selection, result and context are tables; outputs and errors are as they are said to be."""
    command = ["-m", "jupyter", "nbconvert", "--execute", "--to", "html", "--template", "basic"]
    made = subprocess.run(
        [sys.executable, *command, "--output-dir", str(tmp_path), str(NOTEBOOK)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "notebook.html").read_text()
    captions = re.findall(r"<caption>(.*?)</caption>", page)
    key = "date=2012-10-26|symbol=IBM"
    assert captions == ["workflow daily_prices", "selection of 5 keys", f"daily_prices, {key}: ok", "context"]
    text = unescape(re.sub(r"<[^>]+>", "", page))
    for shown in ("Decimal('193.27')", "2012-10-27 is a Saturday", "['ok', 'ok', 'ok', 'ok', 'ok']", "flowchart LR"):
        assert shown in text, shown
