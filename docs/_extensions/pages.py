"""Pages that are files of the project: a page whose front matter has ``file: CONTRIBUTING.md`` is that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, config: Any, **kwargs: Any) -> str:
    """Return the text of a page; links of the project's files into ``docs/`` are links between pages."""
    name = page.meta.get("file")
    if name is None:
        return markdown
    text = (Path(config.config_file_path).parent / name).read_text()
    return text.replace("](docs/", "](")
