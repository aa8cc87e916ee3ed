"""Names that a package imports when they are first used: who needs one of them does not pay for the others.

Example:
    >>> import sys, types
    >>> package = sys.modules["shapes"] = types.ModuleType("shapes")
    >>> package.__all__ = ["Fraction"]
    >>> package.__getattr__, package.__dir__ = lazy_names("shapes", {"Fraction": "fractions"})
    >>> package.Fraction(1, 2)
    Fraction(1, 2)
    >>> del sys.modules["shapes"]

Source of the convention: PEP 562.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``, which import its names when they are first used.

    Args:
        package: The package's name; it has an ``__all__``.
        homes: The module in which each name is, by the name.
        otherwise: What finds all other names; without it, there are none.
    """

    def find(name: str) -> Any:
        if name in homes:
            value = getattr(import_module(homes[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed() -> list[str]:
        module = sys.modules[package]
        return sorted({*vars(module), *module.__all__})

    return find, listed
