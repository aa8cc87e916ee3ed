"""Differences as a page that one can open, filter and send around: one file, nothing fetched."""

from __future__ import annotations

import html
import re
from importlib.resources import files

from flowctx.core.masking import mask_text
from flowctx.core.printable import printable
from flowctx.core.workflow.drawing import embedded
from flowctx.versions.differences import Differences
from flowctx.versions.rows import cell
from flowctx.versions.shown import counts, lines, title

#: Where the parts stand in the template; what stands in a part is not looked at.
_PLACES = re.compile("@(TITLE|COUNTS|DATA)@")


def render_html(found: Differences) -> str:
    """Return the HTML of a page about what differs.

    Args:
        found: What differs.

    Example:
        ::

            Path("diff.html").write_text(render_html(diff(nav, VersionChoice(batch_id="first"))))
    """
    template = files("flowctx.versions").joinpath("page.html").read_text("utf-8")
    data = [[cell(printable(part) if isinstance(part, str) else part) for part in line] for line in lines(found)]
    parts = {
        "TITLE": html.escape(printable(mask_text(title(found)))),
        "COUNTS": html.escape(counts(found)),
        "DATA": embedded(data),
    }
    return _PLACES.sub(lambda place: parts[place[1]], template)
