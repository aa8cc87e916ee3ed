"""What was known when, and what changed: the versions of outputs that the ledger remembers.

* :mod:`.outputs`: the outputs of many partitions, of the version that is meant
* :mod:`.choosing`: which version of each partition that is, so many partitions at a time
"""

from __future__ import annotations

from flowctx.versions.outputs import outputs

__all__ = ["outputs"]
