"""Frames as stored tables, for tests."""

from __future__ import annotations

import io
from dataclasses import replace

from flowctx import Table
from flowctx.artifacts.frames import source_of


def stored(frame):
    """Return a frame as a table whose bytes are in memory."""
    file = io.BytesIO()
    reference = source_of(frame, "output").write(file)
    return Table(replace(reference, data=file.getvalue()))
