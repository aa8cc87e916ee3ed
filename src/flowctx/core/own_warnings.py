"""Warnings of flowctx, shown without the line of its source: whoever reads them can change nothing there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_PACKAGE: Final = Path(__file__).parents[1]


def without_source(say: Callable[[str], object], others: Callable[..., None]) -> Callable[..., None]:
    """Return what shows warnings of flowctx as a line, and those of others as they are shown; for ``showwarning``.

    Args:
        say: Shows a line.
        others: Shows the warnings of others.

    Example:
        >>> import warnings
        >>> show = without_source(print, warnings.showwarning)
        >>> show("it is cut", UserWarning, __file__, 1)
        Warning: it is cut
    """

    def show(message: Warning | str, category: type[Warning], filename: str, *where: Any, **how: Any) -> None:
        if Path(filename).is_relative_to(_PACKAGE):
            say(f"Warning: {message}")
        else:
            others(message, category, filename, *where, **how)

    return show
