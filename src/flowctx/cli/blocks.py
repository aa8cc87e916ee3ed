"""What stands in columns: plain text for a pipe, drawn by rich on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # rich is slow to import, and to draw thousands of cells; a pipe needs neither
    from rich.table import Table
    from rich.text import Text


class Cell(NamedTuple):
    """A text, and how it looks on a terminal."""

    #: The text, in one line.
    text: str
    #: A style of rich's.
    style: str = ""


class Paragraph(NamedTuple):
    """Texts that follow each other, of one line or several."""

    #: The texts, each with its style.
    parts: Sequence[Cell] = ()

    def lines(self) -> Iterator[str]:
        """Yield its lines as plain text."""
        yield from "".join([part.text for part in self.parts]).expandtabs().split("\n")

    def __rich__(self) -> Text:
        """Return it as rich draws it."""
        from rich.text import Text

        return Text.assemble(*self.parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Rows of cells, below each other in columns."""

    #: The rows, all of one length.
    rows: Sequence[Sequence[Cell]]
    #: The heading of each column; ``None``: they are names and their values.
    headings: Sequence[str] | None = None
    #: Whether the columns after the first are flush right; else the last one is folded where there is no room for it.
    right: bool = False
    #: How wide each column is at least.
    widths: Sequence[int] | None = None
    #: Whether it goes on below rows of the same columns, so that the headings are left out.
    below: bool = False

    def lines(self) -> Iterator[str]:
        """Yield it as plain text, however long the lines get."""
        rows = [[cell.text for cell in row] for row in self.rows]
        if self.headings is not None and not self.below:
            rows.insert(0, list(self.headings))
        widths = self.widths or [max(map(cells_of, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            places = enumerate(zip(row, widths, strict=True))
            yield "  ".join([_padded(text, width, left=self.right and at > 0) for at, (text, width) in places]).rstrip()

    def __rich__(self) -> Table:
        """Return it as rich draws it."""
        from rich.table import Table
        from rich.text import Text  # a string is taken for markup

        if self.headings is None:
            table = Table.grid(padding=(0, 2, 0, 0))
        else:
            table = Table(box=None, pad_edge=False, header_style="dim", show_header=not self.below)
        last = len(self.headings or ()) - 1
        for at, heading in enumerate(self.headings or ()):
            if self.right:
                table.add_column(Text(heading), justify="right" if at else "left")
            else:
                least = self.widths[at] if self.widths and at < last else None
                table.add_column(Text(heading), no_wrap=at < last, overflow="fold", min_width=least)
        for row in self.rows:
            table.add_row(*(Text(cell.text, style=cell.style, overflow=None if self.right else "fold") for cell in row))
        return table


def cells_of(text: str) -> int:
    """Return how many cells of a terminal a text takes.

    Example:
        >>> cells_of("date"), cells_of("日付")
        (4, 4)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _padded(text: str, width: int, *, left: bool) -> str:
    blanks = " " * (width - cells_of(text))
    return blanks + text if left else text + blanks
