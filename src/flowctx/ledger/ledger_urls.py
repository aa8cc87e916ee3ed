"""The URL of a ledger, as SQLAlchemy has it, or a refusal that shows nothing of a password."""

from __future__ import annotations

import os
import re
from typing import Final

import sqlalchemy
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from flowctx.core.engine_versions import numbers
from flowctx.core.errors import ContextError
from flowctx.core.masking import mask_text
from flowctx.core.printable import brief

#: The driver of PostgreSQL, where a URL names none: psycopg 3 is known to SQLAlchemy 2.
POSTGRES_DRIVER: Final = "psycopg" if numbers(sqlalchemy.__version__) >= (2,) else "psycopg2"

#: How to write what would end a password too early.
_ESCAPES = "write %40 for @, %3A for :, %2F for / and %3F for ? in its user, its password and its options"


#: What may stand behind the ? of a SQLite file: what Python's driver takes, and with uri=true what SQLite does.
_OF_DRIVER: Final = ("cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout", "uri")
_OF_URI: Final = ("cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs")


#: Drivers that know what the ledger tells PostgreSQL's own library.
_DRIVERS: Final = ("psycopg", "psycopg2", "psycopg2cffi")
#: One of several hosts, and its port.
_HOST: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d*))?")


def ledger_url(text: str) -> URL:
    """Return the URL of a SQLite or PostgreSQL database, with the driver that it is used with.

    Args:
        text: As SQLAlchemy takes it.

    Raises:
        ContextError: It is no such URL, or has a password that ends early.

    Example:
        >>> ledger_url("sqlite:////data/ledger.db").database
        '/data/ledger.db'
    """
    try:
        url = _read(text)
        kind = url.get_backend_name()
    except (ArgumentError, ValueError):  # whose own words quote the URL, and the password in it
        hint = f", or {_ESCAPES}" if "@" in text else ""
        raise ContextError(
            f"{brief(mask_text(text))!r} is no URL of a ledger; write sqlite:////folder/ledger.db{hint}"
        ) from None
    if kind not in ("sqlite", "postgresql", "postgres"):
        raise ContextError(f"a ledger lives in SQLite or PostgreSQL, not in {kind!r}; write sqlite:////folder/file.db")
    if kind == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ContextError(
                f"{mask_text(text)!r} names no file; write sqlite:////folder/ledger.db, or memory:// for none"
            )
        _check_options(text, url)
        return url.set(database=os.path.expanduser(str(url.database)))  # sqlite:///~/ledger.db
    if text.partition("://")[2].partition(":")[2].count("@") > 1:  # it would be taken for the host, in part
        raise ContextError(f"{brief(mask_text(text))!r} has several @, so that its password may end early; {_ESCAPES}")
    _check_driver(text, url)
    drivers = {"postgresql": f"postgresql+{POSTGRES_DRIVER}", "postgres": f"postgresql+{POSTGRES_DRIVER}"}
    return url.set(drivername=drivers.get(url.drivername, url.drivername))


def _read(text: str) -> URL:
    url = make_url(_with_hosts(text))
    if set(url.host or "") & set("[]") or (url.port or 0) >= 2**16:
        raise ValueError(url.host)
    return url


def _with_hosts(text: str) -> str:
    """Return the URL of several hosts as SQLAlchemy takes it: libpq's is ``user@h1:1,h2:2/db``.

    Example:
        >>> _with_hosts("postgresql://user@h1:5432,h2/db?sslmode=require")
        'postgresql://user@/db?host=h1,h2&port=5432,&sslmode=require'
    """
    head, _, rest = text.partition("://")
    place = re.split(r"[/?]", rest, maxsplit=1)[0]
    user, at, hosts = place.rpartition("@")
    each = [_HOST.fullmatch(one) for one in hosts.split(",")]
    if not head.startswith("postgres") or len(each) == 1 or None in each:
        return text
    found = [(one[1].strip("[]"), one[2] or "") for one in each if one is not None]
    names, ports = (",".join(part) for part in zip(*found, strict=True))
    path, _, query = rest[len(place) :].partition("?")
    more = [f"host={names}", f"port={ports}" if ports.strip(",") else "", query]
    return f"{head}://{user}{at}{path or '/'}?{'&'.join(filter(None, more))}"


def _check_driver(text: str, url: URL) -> None:
    """Refuse a driver that does not know what the ledger tells PostgreSQL's own library, or does not wait."""
    driver = url.drivername.partition("+")[2]
    if driver and driver not in _DRIVERS:
        raise ContextError(
            f"{brief(mask_text(text))!r} names the driver {driver!r}, which the ledger cannot use; write postgresql:// "
            "for psycopg, or postgresql+psycopg2://"
        )


def _check_options(text: str, url: URL) -> None:
    """Refuse what stands behind the ? of a SQLite file and would be dropped in silence."""
    by_uri = str(url.query.get("uri", "")).lower() in ("true", "yes", "on", "1", "y", "t")
    taken = (*_OF_DRIVER, *_OF_URI) if by_uri else _OF_DRIVER
    if unknown := [name for name in url.query if name not in taken]:
        hint = "; it needs uri=true and file: before the path" if unknown[0] in _OF_URI else ""
        raise ContextError(
            f"{brief(mask_text(text))!r} has an option {unknown[0]!r} that no ledger in SQLite takes{hint}; leave it "
            "out, or rename a file whose name has a ?"
        )
