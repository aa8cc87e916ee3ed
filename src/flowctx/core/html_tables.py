"""Small tables in HTML, in which notebooks show workflows, contexts, results and selections."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def table(caption: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a small HTML table, every text escaped."""
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(brief(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def brief(value: object, width: int = 120) -> str:
    """Return the text of a value, cut where it is long; nothing for ``None``.

    Example:
        >>> brief("x" * 200, 10)
        'xxxxxxxxx…'
    """
    text = "" if value is None else str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"
