"""The code of the pages as modules, for type checkers."""

import re
from pathlib import Path

from documentation.pages import PAGES, blocks


def write_modules(folder: Path) -> None:
    """Write each page's session as one module, and each file with a title as one."""
    for name in PAGES:
        typed = ""
        for block in (block for block in blocks(name) if block.language == "python"):
            if block.title:
                path = folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text)
            else:  # on the lines that it has in the page
                typed += "\n" * (block.line - 1 - typed.count("\n")) + block.text
        if typed:
            (folder / f"page_{re.sub('[^a-z]', '_', name.lower())}.py").write_text(typed)
