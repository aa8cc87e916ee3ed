"""The bulk lane: a slice of a batch, run in a process beside the task or run of an engine that was given it."""

from __future__ import annotations

from flowctx.bulk.counts import captured_since, not_done, slice_counts
from flowctx.bulk.process import SliceEnd, SliceNews, SliceProcess, check_bulk, importable

__all__ = [
    "SliceEnd",
    "SliceNews",
    "SliceProcess",
    "captured_since",
    "check_bulk",
    "importable",
    "not_done",
    "slice_counts",
]
