"""What was known when, and what changed: the versions of outputs that the ledger remembers.

* :mod:`.outputs`: the outputs of many partitions, of the version that is meant
* :mod:`.comparing`, :mod:`.differences`, :mod:`.changes`: what differs between two versions
* :mod:`.shown`, :mod:`.html_page`: that as text, as data and as a page
* :mod:`.staleness`, :mod:`.reading_graph`, :mod:`.stale_links`: what was built on something else than would be read now
* :mod:`.lineage`: what a version was built from
* :mod:`.choosing`: which version of each partition that is, so many partitions at a time
"""

from __future__ import annotations

from flowctx.core.durability.version_choice import VersionChoice
from flowctx.versions.comparing import diff, diff_replay
from flowctx.versions.differences import Differences, StepDifference
from flowctx.versions.html_page import render_html
from flowctx.versions.lineage import Source, lineage
from flowctx.versions.outputs import outputs
from flowctx.versions.stale_links import StaleLink, StalePartition
from flowctx.versions.staleness import stale

__all__ = [
    "Differences",
    "Source",
    "StaleLink",
    "StalePartition",
    "StepDifference",
    "VersionChoice",
    "diff",
    "diff_replay",
    "lineage",
    "outputs",
    "render_html",
    "stale",
]
