"""Libraries that a table is read into, imported when it is."""

from __future__ import annotations

from typing import Any

from flowctx.core.extras import needs


def need_library(library: str) -> Any:
    """Import a library that a table is read into.

    Raises:
        MissingExtra: It is not installed.
    """
    import importlib

    with needs(f"reading a table into {library}", library, package=library):
        return importlib.import_module(library)
