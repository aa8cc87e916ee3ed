"""What a number was built from, drawn: a box for each capture, a column for each step back, a line for each reading."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from flowctx.core.masking import mask_text
from flowctx.core.printable import amount, printable
from flowctx.versions.lineage import Source

#: So many captures of a column are drawn.
MOST: Final = 12
#: Sizes, in pixels.
_WIDTH, _HEIGHT, _GAP, _BETWEEN, _PAD = 250, 58, 12, 70, 6
#: So many characters fit into a box.
_FITS: Final = 38
_STYLE: Final = """<style>
.lineage { overflow-x: auto; }
.lineage svg { display: block; font: 12px system-ui, sans-serif; }
.lineage rect { fill: none; stroke: currentColor; stroke-opacity: .35; }
.lineage .problem rect { stroke: #d92d20; stroke-opacity: 1; }
.lineage text { fill: currentColor; }
.lineage .name { font-weight: 600; }
.lineage .small { font-size: 11px; opacity: .7; }
.lineage path { fill: none; stroke: currentColor; stroke-opacity: .3; }
</style>"""


def draw_lineage(found: Sequence[Source]) -> str:
    """Return what a capture was built from as a drawing: HTML that stands in a page as it is, without secrets.

    Args:
        found: What :func:`~flowctx.versions.lineage` returns.

    Example:
        ::

            Path("lineage.html").write_text(lineage_page(lineage(ledger, run)))
    """
    columns: dict[int, list[Source]] = {}
    for source in found:
        columns.setdefault(source.depth, []).append(source)
    places: dict[str, tuple[int, int]] = {}
    boxes: list[str] = []
    for depth, sources in columns.items():
        x = _PAD + depth * (_WIDTH + _BETWEEN)
        for row, source in enumerate(sources[:MOST]):
            places[source.run_key] = (x, _PAD + row * (_HEIGHT + _GAP))
            boxes.append(_box(source, *places[source.run_key]))
        if len(sources) > MOST:
            y = _PAD + MOST * (_HEIGHT + _GAP) + 14
            boxes.append(f'<text class="small" x="{x}" y="{y}">and {len(sources) - MOST:,} more</text>')
    rows = max((min(len(sources), MOST) for sources in columns.values()), default=0)
    width = len(columns) * (_WIDTH + _BETWEEN) - _BETWEEN + 2 * _PAD
    height = (rows + 1) * (_HEIGHT + _GAP)
    words = f"{amount(len(found), 'capture')}, {amount(len(columns), 'column')}"
    return (
        f'{_STYLE}<div class="lineage"><svg role="img" aria-label="{words}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{"".join(_lines(found, places))}{"".join(boxes)}</svg></div>'
    )


def lineage_page(found: Sequence[Source]) -> str:
    """Return the drawing as a page of its own, with nothing fetched.

    Args:
        found: What :func:`~flowctx.versions.lineage` returns; the first is what is asked about.
    """
    title = html.escape(_text(f"What {found[0].capture_id} of {found[0].workflow} was built from"))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        "<style>:root { color-scheme: light dark; } body { margin: 24px; font: 14px system-ui, sans-serif; }</style>"
        f"</head><body><h1>{title}</h1>\n{draw_lineage(found)}\n</body></html>\n"
    )


def _lines(found: Sequence[Source], places: dict[str, tuple[int, int]]) -> list[str]:
    lines: dict[str, None] = {}
    for source in found:
        reads = (read for step in source.steps for some in step.inputs.values() for read in some)
        for read in reads:
            if source.run_key in places and read.run_key in places and read.run_key != source.run_key:
                (x1, y1), (x2, y2) = places[source.run_key], places[read.run_key]
                x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
                bend = _BETWEEN // 2
                lines[f'<path d="M{x1},{y1} C{x1 + bend},{y1} {x2 - bend},{y2} {x2},{y2}"/>'] = None
    return list(lines)


def _box(source: Source, x: int, y: int) -> str:
    data: dict[str, Any] = source.to_dict()  # without secrets
    run = data["run"] or {}
    revision = "" if source.revision is None else f", revision {source.revision}"
    made = f"{run['engine']}, {str(run['finished_at'] or run['started_at'])[:16].replace('T', ' ')}" if run else ""
    texts = (source.workflow, str(source.partition or ""), source.problem or f"{source.capture_id}{revision}", made)
    codes = ", ".join(f"{step['step']} {step['code'] or ''}".strip() for step in data["steps"])
    facts = [*texts, f"by {run.get('by')}", f"parameters {run.get('params')}", f"steps {codes}"] if run else [*texts]
    lines = "".join(
        f'<text class="{kind}" x="{x + 8}" y="{y + 14 + 13 * number}">{html.escape(_short(text))}</text>'
        for number, (kind, text) in enumerate(zip(("name", "small", "small", "small"), texts, strict=True))
    )
    kind = ' class="problem"' if source.problem else ""
    rect = f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
    return f"<g{kind}><title>{html.escape(_text(chr(10).join(facts)))}</title>{rect}{lines}</g>"


def _short(text: str) -> str:
    shown = _text(text)
    return shown if len(shown) <= _FITS else shown[: _FITS - 1] + "…"


def _text(text: str) -> str:
    return printable(mask_text(text), lines=True)
