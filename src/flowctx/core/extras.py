"""What an extra brings, and what is said where it is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from flowctx.core.errors import MissingExtra

#: The modules of other projects that our code imports, by the extra that brings them.
EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "airflow": ("airflow",),
        "dagster": ("dagster",),
        "calendars": ("exchange_calendars",),
        "postgres": ("psycopg",),
        "tables": ("pyarrow", "numpy"),
        "examples": ("bokeh_sampledata", "exchange_calendars", "pyarrow", "numpy"),
    }
)


@contextmanager
def needs(what: str, extra: str, *, package: str | None = None) -> Iterator[None]:
    """Say what to type if an import in the block finds no module that an extra brings.

    Any other error of an import is shown as it is: no extra would mend it.

    Args:
        what: What needs the extra, as the sentence begins.
        extra: The extra, or a library that has none.
        package: What to install in its place.

    Raises:
        MissingExtra: It is not installed; the message names the module that is missing.

    Example:
        >>> with needs("a report", "not_there", package="not-there"):
        ...     import not_there
        Traceback (most recent call last):
        flowctx.core.errors.MissingExtra: a report needs not_there, which is not installed; type: pip install not-there
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        module = (exc.name or "").partition(".")[0]
        if module not in EXTRAS.get(extra, (extra,)):
            raise
        raise MissingExtra(what, extra, package=package, module=module) from exc
