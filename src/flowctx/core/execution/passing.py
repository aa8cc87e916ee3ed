"""Exceptions that are no failure of the step in which they are raised: they talk to whoever runs it."""

from __future__ import annotations

from typing import Final

#: What ends or interrupts whatever runs.
_ENDINGS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)
#: Packages whose exceptions that are no ``Exception`` are words to themselves: what is cancelled or deferred, a
#: test that ends.
_OTHERS: Final = frozenset(
    ("_pytest", "airflow", "asyncio", "dagster", "eventlet", "gevent", "greenlet", "hypothesis", "trio")
)
#: Of those, what ends a step all the same: the time is up that its engine gives it.
_TIME_UP: Final = frozenset(("airflow.sdk.exceptions.AirflowTaskTimeout", "airflow.exceptions.AirflowTaskTimeout"))


def is_time_up(exc: BaseException) -> bool:
    """Whether an exception says that the time is up that an engine gives a step (Airflow's ``execution_timeout``)."""
    return any(f"{kind.__module__}.{kind.__qualname__}" in _TIME_UP for kind in type(exc).__mro__)


def passes_through(exc: BaseException) -> bool:
    """Whether an exception passes through a step, which does not end by it.

    Args:
        exc: The exception. One that is no ``Exception`` is a failure all the same if nobody waits for it, as the panic
            of a library that is written in Rust.

    Example:
        >>> passes_through(ValueError()), passes_through(KeyboardInterrupt())
        (False, True)
    """
    if isinstance(exc, Exception) or is_time_up(exc):
        return False
    if isinstance(exc, BaseExceptionGroup):
        return any(map(passes_through, exc.exceptions))
    return isinstance(exc, _ENDINGS) or any(kind.__module__.partition(".")[0] in _OTHERS for kind in type(exc).__mro__)
