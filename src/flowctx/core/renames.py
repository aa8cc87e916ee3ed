"""Names that were changed: the old one works for one minor version, and warns.

Example:
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_renamed("Ledger.runs()", "Ledger.list_runs()")
    >>> str(caught[0].message)
    'Ledger.runs() is called Ledger.list_runs() now; the old name goes with flowctx 0.3'
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

#: The minor version in which the names that this one has renamed are removed.
REMOVED_IN = "0.3"


def warn_renamed(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn that ``old`` was used, and say what it is called now."""
    warnings.warn(
        f"{old} is called {new} now; the old name goes with flowctx {REMOVED_IN}",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def old_method(owner: str, old: str, new: str) -> Callable[..., Any]:
    """Return a method that warns and calls the one of the new name."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        warn_renamed(f"{owner}.{old}()", f"{owner}.{new}()")
        return getattr(self, new)(*args, **kwargs)

    method.__name__ = old
    method.__doc__ = f"Old name of :meth:`{new}`."
    return method


def old_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds its objects by their old names, with a warning.

    Args:
        module: The module's name.
        names: New name by old name.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", f"{module}.{names[name]}")
        return getattr(sys.modules[module], names[name])

    return find
