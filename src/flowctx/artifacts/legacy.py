"""References of flowctx 0.1, which named their files by absolute URIs and the digest of the content."""

from __future__ import annotations

import re

from flowctx.core.data.plain import ArtifactRef

_TAIL = re.compile(r"([0-9a-f]{2})/([0-9a-f]{64})\.json", re.ASCII)


def legacy_path(ref: ArtifactRef, base: str) -> str | None:
    """Return where a reference of the old form leads inside of a store; ``None`` if it is none of that store.

    Example:
        >>> name = "ab" + "0" * 62
        >>> legacy_path(ArtifactRef(uri=f"/store/ab/{name}.json", digest=name, size=1), "/store")[:6]
        'ab/ab0'
    """
    tail = "/".join(ref.uri.rsplit("/", 2)[-2:])
    match = _TAIL.fullmatch(tail)
    if match is None or match[2] != ref.digest or match[1] != ref.digest[:2]:
        return None
    root = ref.uri[: -len(tail)].rstrip("/")
    known = {base.rstrip("/"), base.removeprefix("file://").rstrip("/"), base.removeprefix("file:").rstrip("/")}
    return tail if root in known else None
