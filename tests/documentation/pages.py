"""Reads the pages of the documentation: which blocks of code each one has, and which files they make."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Every page that people read, by its name in messages.
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    #: The page's name.
    page: str
    #: The line of the page on which its code begins.
    line: int
    #: Its language, such as ``python`` or ``console``.
    language: str
    #: The file that it stands for, if it has a title.
    title: str | None
    #: Its code.
    text: str

    @property
    def where(self) -> str:
        """The place to look, for messages."""
        return f"{self.page}:{self.line}"


def blocks(name: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = PAGES[name].read_text()
    found = []
    for match in _FENCE.finditer(text):
        info = match["info"].strip()
        title = _TITLE.search(info)
        found.append(
            Block(
                page=name,
                line=text.count("\n", 0, match.start()) + 2,
                language=info.partition(" ")[0],
                title=title[1] if title else None,
                text=textwrap.dedent(match["body"]),
            )
        )
    return found


def first_workflow() -> str:
    """Return the ``flows.py`` that every page builds on: the first block of the README."""
    block = blocks("README.md")[0]
    assert block.title == "flows.py", "the README begins with flows.py"
    return block.text
