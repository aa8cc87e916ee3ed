"""Standard output: what a command prints, apart from what the code of a workflow prints."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import click

from flowctx.core.printable import printable

#: What a program holds as the object of click's context that ends when the command does.
ENDS_WITH_IT = object()
#: Standard output as it was, while others get standard error in its place.
_kept: list[TextIO] = []
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


def write(text: str, *, nl: bool = True, color: bool | None = None) -> None:
    """Print a text on standard output.

    Args:
        text: What.
        nl: Whether the line ends with it.
        color: Whether colours stay, where no terminal shows them.

    Raises:
        ClickException: It cannot be written.
    """
    to = _standard_output()
    try:
        click.echo(text, file=to, nl=nl, color=color)
    except OSError as exc:
        if exc.errno == errno.EPIPE:
            raise  # whoever read it has gone, which is no error
        raise unwritable(exc) from exc


def write_data(text: str) -> None:
    """Print data for other tools as it is; a terminal gets as escapes what it cannot show.

    Raises:
        UsageError: Standard output is no terminal, and its encoding does not hold a character of the data.
    """
    visible = printable(text, lines=True) if is_terminal() else text
    encoding = None if is_terminal() else _narrow_encoding()
    if encoding is not None:
        try:
            text.encode(encoding)
        except UnicodeEncodeError as exc:
            raise click.UsageError(
                f"standard output is {encoding}, which does not hold {text[exc.start]!r}: what is written is not "
                "whole; set PYTHONIOENCODING=utf-8, or name a file: --file NAME"
            ) from exc
    write(visible, nl=False, color=True)  # or it leaves out what looks like colours


def write_json(text: str, *, nl: bool = True) -> None:
    """Print JSON as :func:`write` does; where standard output holds not every character, with escapes of JSON's own."""
    if _narrow_encoding() is not None:
        text = _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    write(text, nl=nl)


@contextmanager
def showing_all() -> Iterator[None]:
    """Let standard output show as escapes what its encoding does not hold, until the block ends."""
    stream = sys.stdout
    if _narrow_encoding() is None or not isinstance(stream, io.TextIOWrapper):
        yield
        return
    errors = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # it may be closed, or full, which has been said
            stream.reconfigure(errors=errors)


def fill_closed() -> None:
    """Let standard streams that are closed lead nowhere: a ledger that is opened next would take the place of one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            file = open(os.devnull, mode, errors="backslashreplace")  # noqa: SIM115 - open to the end
            os.set_inheritable(file.fileno(), True)  # nor is one closed where a child begins
            setattr(sys, name, file)


def unwritable(exc: OSError) -> click.ClickException:
    """Return the error of what could not be printed; nothing of it is tried again as the process ends."""
    _forget(_standard_output())
    return click.ClickException(f"standard output cannot be written ({exc.strerror})")


def failed_to_print(exc: BaseException) -> bool:
    """Whether an error arose as something was printed, such as the help of a command."""
    at = exc.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return isinstance(exc, OSError) and at is not None and at.tb_frame.f_code is click.echo.__code__


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return _standard_output().isatty()


def data_alone() -> None:
    """Keep standard output to the command until it ends: what others print there goes to standard error.

    The code of a workflow may print, when it is imported and when it runs; so may processes that it starts.
    """
    context = click.get_current_context()
    if not _kept:
        context.with_resource(_others_to_standard_error(ends=context.find_root().obj is ENDS_WITH_IT))


@contextmanager
def _others_to_standard_error(*, ends: bool) -> Iterator[None]:
    before = sys.stdout
    before.flush()
    own = _copy(before)
    _kept.append(before if own is None else own)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        _kept.clear()
        if own is not None:
            with suppress(OSError):  # where nobody reads it, the command has said so, or needs not
                own.flush()
        if not ends:  # else what is left to run as the process ends may print, too
            sys.stdout = before
            if own is not None:
                sys.stderr.flush()
                os.dup2(own.fileno(), 1)
        if own is not None:
            _forget(own)
            own.close()


def _copy(stream: TextIO) -> TextIO | None:
    """Let file descriptor 1 be standard error, and return what it was; ``None`` if the stream is none of it."""
    try:
        if stream.fileno() != 1:
            return None
        error = sys.stderr.fileno()
    except (OSError, ValueError):  # it is in memory, or closed
        return None
    own = os.fdopen(os.dup(1), "w", encoding=stream.encoding, errors=stream.errors, newline="\n")
    os.dup2(error, 1)
    return own


def _standard_output() -> TextIO:
    return _kept[-1] if _kept else sys.stdout


def _narrow_encoding() -> str | None:
    """Return the encoding of standard output if it holds not every character, such as ``latin-1``; else ``None``."""
    encoding: str | None = getattr(_standard_output(), "encoding", None)  # text in memory has none
    return None if encoding is None or codecs.lookup(encoding).name.startswith(("utf", "gb18030")) else encoding


def _forget(stream: TextIO) -> None:
    """Let go of what a stream could not write: it would be tried once more as the process ends."""
    with suppress(OSError, io.UnsupportedOperation, ValueError), open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())
