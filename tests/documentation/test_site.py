"""The documentation as a site: built without network or warnings, and needing neither when it is read."""

import logging
import re

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from documentation.pages import ROOT

pytestmark = pytest.mark.e2e  # it takes half a minute to build


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, and what mkdocs warned of."""
    folder = tmp_path_factory.mktemp("site")
    warnings = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    return folder, warnings


def test_the_site_is_built_without_warnings(site):
    """Links, anchors and names in the reference lead somewhere."""
    folder, warnings = site
    assert warnings == []
    assert len(list(folder.rglob("*.html"))) > 20


def test_the_site_asks_no_other_machine(site):
    """Scripts, styles, fonts and pictures come with the pages."""
    folder, _ = site
    pages = "\n".join(path.read_text() for path in folder.rglob("*.html"))
    loaded = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?(?:https?:)?//[^"> ]+', pages)
    assert loaded == []
    styles = "\n".join(path.read_text() for path in folder.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^\"')]+", styles) == []


def test_the_reference_has_readable_docstrings(site):
    """No markup of docstrings is left in the reference: roles are links, and examples are code."""
    folder, _ = site
    for path in (folder / "reference").glob("*.html"):
        assert re.findall(r":(?:class|func|meth|mod|attr|data):|::</p>", path.read_text()) == [], path.name
    assert "Base of every error that flowctx raises on purpose." in (folder / "reference" / "errors.html").read_text()


def test_the_search_knows_pages_and_reference(site):
    """The index has the names of the reference and the words of the guide."""
    folder, _ = site
    index = (folder / "search" / "search_index.json").read_text()
    assert "PartitionTimetable" in index
    assert "previous_session" in index
