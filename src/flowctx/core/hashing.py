"""SHA-256, loaded when it is first needed: OpenSSL costs more to load than all of the contexts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


def sha256(data: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8, in hexadecimal.

    Example:
        >>> sha256("")[:8]
        'e3b0c442'
    """
    digest: str = _sha256()(data.encode() if isinstance(data, str) else data).hexdigest()
    return digest


@cache
def _sha256() -> Callable[[bytes], Any]:
    from hashlib import sha256

    return sha256
