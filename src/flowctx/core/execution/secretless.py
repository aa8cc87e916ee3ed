"""The exception that a step raised, without the secrets in its message: engines print it, log it and store it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowctx.core.masking import mask_text
from flowctx.core.printable import text_of


class _Plain:
    """Before another base, whatever that asks of its subclasses is not asked."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: object) -> None:
        pass


def secretless(exception: BaseException, secrets: frozenset[str]) -> BaseException:
    """Return an exception of the same types, with the same traceback and causes, whose text has no secrets.

    One of a type that cannot be derived from is of the built-in type that it derives from.

    Args:
        exception: The exception; it is returned itself if no secret is in it or in what it was raised from.
        secrets: Values that are known to be secret.

    Example:
        >>> str(secretless(ConnectionError("postgresql://me:hunter2@db is away"), frozenset()))
        'postgresql://me:***@db is away'
    """
    return _secretless(exception, secrets, {})


def _secretless(exc: BaseException, secrets: frozenset[str], seen: dict[int, BaseException]) -> BaseException:
    if id(exc) in seen:
        return seen[id(exc)]
    seen[id(exc)] = exc  # of a ring of causes, one stays as it is
    text, notes = text_of(exc), list(getattr(exc, "__notes__", ()))
    hidden, hidden_notes = mask_text(text, secrets), [mask_text(str(note), secrets) for note in notes]
    before = (exc.__cause__, exc.__context__, *_members(exc))
    after = [None if other is None else _secretless(other, secrets, seen) for other in before]
    if hidden == text and hidden_notes == notes and all(a is b for a, b in zip(before, after, strict=True)):
        return exc
    copy = seen[id(exc)] = _with_text(exc, hidden, after[2:])
    copy.__cause__, copy.__context__, copy.__suppress_context__ = after[0], after[1], exc.__suppress_context__
    if notes:
        copy.__notes__ = hidden_notes
    return copy


def _with_text(exc: BaseException, text: str, members: list[Any]) -> BaseException:
    """Return an exception of the types of another one that says something else."""
    kind: Any = type(exc)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    shown = {"__str__": lambda self: text, "__repr__": lambda self: f"{kind.__name__}({text!r})"}
    base = next(b for b in kind.__mro__ if b.__module__ == "builtins")
    try:
        copied = type(kind)(kind.__name__, (_Plain, kind), names | shown)
    except Exception:  # noqa: BLE001  # a metaclass may refuse what it wants
        copied = type(base)(kind.__name__, (base,), names | shown)
    # Past any __new__ and __init__ of the user's, which may want whatever they want.
    new: Callable[..., BaseException] = base.__new__
    if members:
        copy = new(copied, text.partition(" (")[0], members)
    else:
        copy = new(copied, *exc.args)
        copy.args = (text,)
    copy.__dict__.update(exc.__dict__)
    return copy.with_traceback(exc.__traceback__)


def _members(exc: BaseException) -> tuple[BaseException, ...]:
    return exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
