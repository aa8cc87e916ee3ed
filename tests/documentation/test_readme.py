"""The pages at the top of the project are short, and lead to files that are there."""

import re

import pytest

from documentation.pages import PAGES, ROOT, blocks


def test_the_readme_is_short():
    """It stays under 300 lines; detail is in the documentation."""
    assert len(PAGES["README.md"].read_text().splitlines()) < 300


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(name):
    """Each relative link names a file of the project; ``make docs`` checks those between pages."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", PAGES[name].read_text())
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_code_fits_on_the_page():
    """No line of code is longer than a page shows without scrolling."""
    long = [
        f"{block.page}:{number}: {line}"
        for name in PAGES
        for block in blocks(name)
        for number, line in enumerate(block.text.splitlines(), block.line)
        if len(line) > 100
    ]
    assert long == []
