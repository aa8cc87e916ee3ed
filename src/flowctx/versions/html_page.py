"""Differences as a page that one can open, filter and send around: one file, nothing fetched."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterable, Iterator
from importlib.resources import files

from flowctx.core.masking import mask_text
from flowctx.core.printable import printable
from flowctx.core.workflow.drawing import embedded
from flowctx.versions.differences import Differences
from flowctx.versions.rows import cell
from flowctx.versions.shown import Line, counts, lines, title

#: Where the parts stand in the template; what stands in a part is not looked at.
_PLACES = re.compile("@(TITLE|COUNTS)@")
#: So many lines are in memory at a time.
_BLOCK = 500


def render_html(found: Differences) -> str:
    """Return the HTML of a page about what differs.

    Args:
        found: What differs.

    Example:
        ::

            Path("diff.html").write_text(render_html(diff(nav, VersionChoice(batch_id="first"))))
    """
    return "".join(html_parts(found, lines(found)))


def html_parts(found: Differences, some: Iterable[Line]) -> Iterator[str]:
    """Yield the HTML of a page about what differs, piece by piece.

    Args:
        found: What is compared, and how many outputs stand how.
        some: What differs.
    """
    template = files("flowctx.versions").joinpath("page.html").read_text("utf-8")
    parts = {"TITLE": html.escape(printable(mask_text(title(found)))), "COUNTS": html.escape(counts(found))}
    before, after = (_PLACES.sub(lambda place: parts[place[1]], part) for part in template.split("@DATA@"))
    yield before
    yield "["
    rest, comma = iter(some), ""
    while block := list(itertools.islice(rest, _BLOCK)):
        data = [[cell(printable(part) if isinstance(part, str) else part) for part in line] for line in block]
        yield comma + embedded(data)[1:-1]
        comma = ","
    yield "]" + after
