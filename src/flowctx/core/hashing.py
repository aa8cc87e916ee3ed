"""SHA-256, of texts by Python's own code: OpenSSL costs more to load, and to call after a step, than a context does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Final

#: From so many bytes on OpenSSL is faster, which uses what the processor has for it.
_LARGE: Final = 4096
#: Where CPython keeps its own SHA-256: since 3.12, and before. A build may leave it out.
_OWN: Final = ("_sha2", "_sha256")


def sha256(data: bytes | str) -> str:
    """Return the SHA-256 of bytes, or of a text in UTF-8, in hexadecimal.

    Example:
        >>> sha256("")[:8]
        'e3b0c442'
    """
    if isinstance(data, str):
        data = data.encode()
    digest: str = (_own() if len(data) < _LARGE else _openssl())(data).hexdigest()
    return digest


@cache
def _own() -> Callable[[bytes], Any]:
    for name in _OWN:
        try:
            made: Callable[[bytes], Any] = import_module(name).sha256
        except ImportError:
            continue
        return made
    return _openssl()


@cache
def _openssl() -> Callable[[bytes], Any]:
    from hashlib import sha256

    return sha256
