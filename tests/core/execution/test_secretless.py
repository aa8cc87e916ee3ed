"""What a step raised, as engines are given it: without the secrets in it."""

from __future__ import annotations

import traceback

import pytest

from flowctx import Workflow, run
from flowctx.core.execution.secretless import secretless

NONE: frozenset[str] = frozenset()


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as exc:
        return exc


def text_of(exception: Exception) -> str:
    return "".join(traceback.format_exception(exception))


class Picky(ValueError):
    """Wants more than a message."""

    def __init__(self, table: str, password: str) -> None:
        super().__init__(table, password)
        self.table = table

    def __str__(self) -> str:
        return f"{self.table}: password={self.args[1]}"


class Coded(Exception):
    """Wants a code of each type that derives from it."""

    def __init_subclass__(cls, *, code: int) -> None:
        cls.code = code


class NoFile(Coded, code=4):
    """Has one."""


class _Final(type):
    def __new__(mcs, name, bases, names):
        if bases[0] is not Exception:
            raise TypeError(f"{name}: nothing derives from {bases[0].__name__}")
        return super().__new__(mcs, name, bases, names)


class Last(Exception, metaclass=_Final):
    """Nothing derives from it."""


def test_an_exception_without_secrets_is_itself() -> None:
    """Nothing changes where there is nothing to hide."""
    error = raised(ValueError("no rows"), raised(KeyError("rows")))
    assert secretless(error, NONE) is error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("password=hunter2"),
        KeyError("token=hunter2"),
        OSError(5, "secret=hunter2", "file"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "password=hunter2"),
        Picky("prices", "hunter2"),
        ConnectionError("hunter2hunter2 is wrong"),
        NoFile("password=hunter2"),
    ],
)
def test_its_text_has_no_secrets(error: Exception) -> None:
    """An exception of any type is one of the same type, name and traceback, and says the same with stars."""
    hidden = secretless(raised(error), frozenset({"hunter2hunter2"}))
    assert "hunter2" not in text_of(hidden) + repr(hidden) + str(hidden.args)
    assert isinstance(hidden, type(error))
    assert (type(hidden).__name__, type(hidden).__module__) == (type(error).__name__, type(error).__module__)
    assert hidden.__traceback__ is not None
    assert "***" in str(hidden)


def test_a_type_that_cannot_be_derived_from_is_left() -> None:
    """The text comes without its secrets, in an exception of that name."""
    hidden = secretless(raised(Last("password=hunter2")), NONE)
    assert (type(hidden).__name__, str(hidden)) == ("Last", "password=***")
    assert hidden.__traceback__ is not None


def test_neither_have_those_that_it_was_raised_from() -> None:
    """Causes, contexts, notes and members of groups are without secrets too."""
    deep = raised(KeyError("password=hunter2"))
    error = raised(ValueError("no rows"), raised(RuntimeError("it failed"), deep))
    error.add_note("with token=hunter3")
    group = ExceptionGroup("password=hunter4", [raised(ValueError("password=hunter5")), error])
    text = text_of(secretless(raised(group), NONE))
    assert "hunter" not in text
    assert "it failed" in text
    assert deep.args == ("password=hunter2",)


def test_a_ring_of_causes_ends() -> None:
    """Exceptions that name each other as their cause are no endless task."""
    one, other = ValueError("password=hunter2"), ValueError("two")
    one.__cause__, other.__cause__ = other, one
    assert str(secretless(one, NONE)) == "password=***"


def test_a_run_gives_it_to_nobody_else() -> None:
    """What a run here returns, and raises when asked to, is without the secrets that the step was given."""
    flow = Workflow("raises", params={"db_password": ""})

    @flow.step()
    def connect(ctx):
        raise Picky("prices", ctx.params["db_password"])

    done = run(flow, params={"db_password": "hunter2hunter2"})
    exception = done.steps[0].exception
    assert isinstance(exception, Picky)
    assert (str(exception), exception.table) == ("prices: password=***", "prices")
