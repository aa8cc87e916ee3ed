"""Where runs are remembered: open a ledger by its URL, or the one that the environment names.

``FLOWCTX_LEDGER_URL`` names it, for example ``sqlite:////data/ledger.db`` or ``postgresql://user@host/db``;
``FLOWCTX_LEDGER_MODE`` is ``strict`` (a run that cannot be recorded fails; the default) or ``lenient`` (it goes on, and
the log says so).
"""

from __future__ import annotations

import functools
import os
from contextlib import closing
from pathlib import Path

from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import ContextError, NoLedger

__all__ = [
    "default_ledger_url",
    "ledger_from_env",
    "ledger_or_default",
    "ledger_to_read",
    "open_ledger",
    "shared_ledger",
    "strict_from_env",
]


def open_ledger(url: str, *, owner: str | None = None, make: bool = True) -> Ledger:
    """Return the ledger at a URL; nothing is opened or created before it is first used.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``postgresql://...`` or ``memory://``.
        owner: Who begins runs there, for people to read; by default this process.
        make: Make a database's tables when it is first used and has none. With ``False`` the first use of one that is
            not there raises :class:`~flowctx.NoLedger`, and nothing is left behind: for those who only read.

    Raises:
        ContextError: It is no URL of a ledger.

    Example:
        >>> open_ledger("memory://").list_runs()
        []
    """
    if url == "memory://":
        from flowctx.ledger.memory import MemoryLedger

        return MemoryLedger(owner=owner)
    from flowctx.ledger.sql import SqlLedger

    return SqlLedger(url, owner=owner, make=make)


def ledger_from_env() -> Ledger | None:
    """Return the ledger that ``FLOWCTX_LEDGER_URL`` names, or ``None``; one per process and URL."""
    url = os.environ.get("FLOWCTX_LEDGER_URL")
    return shared_ledger(url) if url else None


def ledger_or_default(ledger: Ledger | str | None) -> Ledger | None:
    """Return a ledger that a caller gave, the one at a URL, or by default what ``FLOWCTX_LEDGER_URL`` names.

    Example:
        >>> ledger = open_ledger("memory://")
        >>> ledger_or_default(ledger) is ledger
        True
        >>> ledger_or_default(Path("ledger.db"))
        Traceback (most recent call last):
        flowctx.core.errors.ContextError: ledger=... is no ledger; pass its URL, such as 'sqlite:///ledger.db'
    """
    return ledger_from_env() if ledger is None else _ledger_at(ledger, make=True)


def ledger_to_read(ledger: Ledger | str | None) -> Ledger | None:
    """Return the ledger that :func:`ledger_or_default` does, for who only reads: one that is not there is not made.

    Where there is none at the URL, the first use of what is returned raises :class:`~flowctx.NoLedger`.

    Example:
        >>> ledger_to_read("memory://").list_runs()
        []
    """
    url = os.environ.get("FLOWCTX_LEDGER_URL")
    if ledger is None and url and not _is_there(url):
        ledger = url
    return ledger_from_env() if ledger is None else _ledger_at(ledger, make=False)


def _ledger_at(ledger: Ledger | str, *, make: bool) -> Ledger:
    if isinstance(ledger, str):
        return open_ledger(ledger, make=make)
    if not hasattr(ledger, "begin"):
        raise ContextError(f"ledger={ledger!r} is no ledger; pass its URL, such as 'sqlite:///ledger.db'")
    return ledger


def _is_there(url: str) -> bool:
    try:
        _check_there(url)
    except NoLedger:
        return False
    return True


@functools.cache
def _check_there(url: str) -> None:
    """Refuse a ledger that is not there; each is asked once in a process, with a connection of its own."""
    with closing(open_ledger(url, make=False)) as reader:
        reader.now()


@functools.cache
def shared_ledger(url: str) -> Ledger:
    """Return the ledger at a URL, the same one (and so the same connection) each time in one process."""
    return open_ledger(url)


def strict_from_env() -> bool:
    """Return whether a run that cannot be recorded fails, as ``FLOWCTX_LEDGER_MODE`` says.

    Raises:
        ContextError: It says something else than ``strict`` or ``lenient``.
    """
    mode = os.environ.get("FLOWCTX_LEDGER_MODE") or "strict"
    if mode not in ("strict", "lenient"):
        raise ContextError(f"FLOWCTX_LEDGER_MODE={mode!r} must be 'strict' or 'lenient'")
    return mode == "strict"


def default_ledger_url() -> str:
    """Return the URL of the user's own ledger: a file in the state folder of the XDG base directory specification."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # which the specification tells to ignore
        state = Path.home() / ".local" / "state"
    return f"sqlite:///{state / 'flowctx' / 'ledger.db'}"
