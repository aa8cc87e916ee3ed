"""SHA-256, loaded when it is first needed: OpenSSL costs more to load than all of the contexts."""

from __future__ import annotations


def sha256(data: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8, in hexadecimal.

    Example:
        >>> sha256("")[:8]
        'e3b0c442'
    """
    import hashlib

    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
