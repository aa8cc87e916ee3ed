"""Every error that flowctx raises on purpose.

::

    FlowctxError
    ├── PartitionError (ValueError)          a partition key, scheme or selection that cannot be
    │   ├── UnknownPartition (KeyError)      a well-formed key that the scheme does not have
    │   └── NotDue (BatchError)              partitions whose data is not complete yet; later it is
    ├── MissingDimension (KeyError, AttributeError)
    ├── MissingKey (KeyError)                a parameter or a value of an output that is not there
    ├── CalendarError (ValueError)           a calendar, cadence or business date that cannot be
    ├── PlainDataError (TypeError)           a value that may not flow through a context
    ├── ReadOnlyError (TypeError)            somebody tried to change a value in place
    ├── PayloadError (ValueError)            stored data that cannot be read back
    │   └── PayloadVersionError              written by a newer, incompatible flowctx
    ├── WorkflowError (ValueError)           a workflow that cannot run as it was built
    │   └── WorkflowChanged                  a run cannot be resumed: its workflow is not what it was
    ├── ContextError (ValueError)            a run context that cannot be made from what was given
    │   └── ContextConflict                  two branches wrote one parameter differently
    ├── InputMissing (LookupError)           an output that a step reads is not there, or not yet
    ├── OutputTooLarge (ValueError)          an output over the limit and nowhere to put it
    ├── ArtifactError (OSError)              an artifact that is gone or is not what was written
    │   ├── ArtifactUnavailable (ConnectionError)  its store is away or full; later it may not be
    │   └── ArtifactRefused (PermissionError)  its store is read-only, or a reference leads out of it
    ├── RunFailed (RuntimeError)             raised by ``RunResult.raise_for_failure()``
    ├── LedgerError (RuntimeError)           the ledger cannot do what was asked
    │   ├── LedgerUnavailable (ConnectionError)  it cannot be reached, is locked or full; later it may be
    │   ├── NoLedger                         there is none at a URL, and who only reads makes none
    │   ├── LedgerVersionError               its tables are older or newer than this flowctx
    │   ├── UnknownRun (KeyError)            it remembers no such run, or several
    │   ├── VersionGone (LookupError)        a version of outputs that was pruned or written over
    │   ├── RunExists                        a run of this id is there already
    │   ├── RunAlive                         somebody is at the run, and gave a sign of life lately
    │   ├── CaptureRefused                   the capture was not granted
    │   │   ├── CaptureHeld                  another run is writing it
    │   │   └── AlreadyCaptured              it is complete, and ``on_captured="skip"``
    │   └── Superseded                       a late write: somebody else has taken this run or capture over
    ├── BatchError (ValueError)              a batch that cannot be launched as it was asked for
    │   └── UnknownBatch (KeyError)          nobody remembers such a batch
    ├── EngineError (RuntimeError)           an engine refuses what it is asked for
    │   └── EngineUnavailable (ConnectionError)  it cannot be reached
    ├── UnsupportedEngine (ImportError)      an engine is older than what was asked for needs
    └── MissingExtra (ImportError)           an optional dependency that is not installed

Each message says what was wrong, with the offending value, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowctx.core.masking import mask_text
from flowctx.core.printable import brief, text_of

#: The longest message, in characters; of a longer one, such as one that quotes a payload, the middle is left out.
_LONGEST = 1500


class FlowctxError(Exception):
    """Base of every error that flowctx raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show repr(message), with its quotes and escaped newlines.
        text = mask_text(str(self.args[0])) if self.args else ""
        if len(text) <= _LONGEST:
            return text
        left_out = len(text) - _LONGEST
        return f"{text[: _LONGEST // 2]} ... {left_out:,} characters left out ... {text[-_LONGEST // 2 :]}"


def error_text(exc: BaseException) -> str:
    r"""Return an error of anybody's as one short line for a log: its type, and what it says without secrets.

    Example:
        >>> error_text(OSError("\x1b[2J postgresql://me:hunter2@db is away"))
        'OSError: \\x1b[2J postgresql://me:***@db is away'
    """
    return brief(mask_text(" ".join(f"{type(exc).__name__}: {text_of(exc)}".split())), 400)


def ending_text(exc: BaseException) -> str:
    """Return what code did that did not return, as :func:`error_text`: one that ends the process has no error.

    Example:
        >>> ending_text(SystemExit(0)), ending_text(ValueError("no"))
        ('it called sys.exit(0)', 'ValueError: no')
    """
    return (
        brief(mask_text(f"it called sys.exit({exc.code!r})"), 400) if isinstance(exc, SystemExit) else error_text(exc)
    )


@contextmanager
def noting(done: Callable[[], str]) -> Iterator[None]:
    """Note on whatever a block raises what it had done by then, which stays done; commands print that with the error.

    Args:
        done: Says what; nothing, if nothing was.

    Example:
        >>> try:
        ...     with noting(lambda: "3 runs were forgotten before"):
        ...         raise LedgerUnavailable("the ledger is away")
        ... except LedgerUnavailable as exc:
        ...     print(exc, exc.__notes__)
        the ledger is away ['3 runs were forgotten before']
    """
    try:
        yield
    except BaseException as exc:
        if text := done():
            exc.add_note(text)
        raise


class PartitionError(FlowctxError, ValueError):
    """A partition key, scheme or selection that cannot be."""


class UnknownPartition(PartitionError, KeyError):
    """A well-formed partition key that the scheme does not have."""


class MissingKey(FlowctxError, KeyError):
    """A parameter or a value of an output that is not there."""


class MissingDimension(FlowctxError, KeyError, AttributeError):
    """A dimension was asked for that the partition key does not have."""


class CalendarError(FlowctxError, ValueError):
    """A calendar, cadence or business date that cannot be."""


class PlainDataError(FlowctxError, TypeError):
    """A value that may not flow through a context; names the path to it and the remedy."""


class ReadOnlyError(FlowctxError, TypeError):
    """Somebody tried to change read-only data in place; copy it first."""


class PayloadError(FlowctxError, ValueError):
    """Stored data that cannot be read back."""


class PayloadVersionError(PayloadError):
    """Stored data written in a newer, incompatible format."""


class WorkflowError(FlowctxError, ValueError):
    """A workflow that cannot run as it was built."""


class WorkflowChanged(WorkflowError):
    """A run cannot be resumed as it is, because its workflow has changed; the message lists the changes."""


class ContextError(FlowctxError, ValueError):
    """A run context that cannot be made from what was given."""


class ContextConflict(ContextError):
    """Two branches of a workflow wrote one parameter with different values."""


class InputMissing(FlowctxError, LookupError):
    """An output of another partition that a step reads is not there, or not yet; the message says how to make it."""


class OutputTooLarge(FlowctxError, ValueError):
    """A step's output is over the limit and no artifact store is configured."""


class ArtifactError(FlowctxError, OSError):
    """An artifact that is gone, or is not what was written."""


class ArtifactUnavailable(ArtifactError, ConnectionError):
    """The store of artifacts does not answer, or is full; later it may be otherwise."""


class ArtifactRefused(ArtifactError, PermissionError):
    """The store of artifacts may not be written or read, or a reference leads out of it."""


class RunFailed(FlowctxError, RuntimeError):
    """A run did not succeed; the message names the step and its error."""


class LedgerError(FlowctxError, RuntimeError):
    """The ledger cannot do what was asked."""


class LedgerUnavailable(LedgerError, ConnectionError):
    """The ledger cannot be reached, is locked or is full; later it may not be."""


class NoLedger(LedgerError):
    """There is no ledger at a URL, and who only reads makes none."""


class LedgerVersionError(LedgerError):
    """The ledger's tables are older or newer than this flowctx; the message says what to type."""


class UnknownRun(LedgerError, KeyError):
    """The ledger remembers no such run, or several."""


class VersionGone(LedgerError, LookupError):
    """A version of outputs that was there and is no more: pruned, written over in its batch, or without the step."""


class RunExists(LedgerError):
    """A run of this id is there already; the message says how it can be continued."""


class RunAlive(LedgerError):
    """Somebody is at the run and gave a sign of life lately; the message says who, and since when."""


class CaptureRefused(LedgerError):
    """A capture was not granted."""


class CaptureHeld(CaptureRefused):
    """Another run is writing the capture."""


class AlreadyCaptured(CaptureRefused):
    """The partition is captured already, and the caller asked to leave it at that."""


class Superseded(LedgerError):
    """A late write was refused, because somebody else has taken over the run or its capture."""


class BatchError(FlowctxError, ValueError):
    """A batch that cannot be launched as it was asked for."""


class NotDue(PartitionError, BatchError):
    """Partitions that are not due yet: the same call does when they are."""


class UnknownBatch(BatchError, KeyError):
    """Nobody remembers such a batch."""


class EngineError(FlowctxError, RuntimeError):
    """An engine refuses what it is asked for; the message has its own words."""


class EngineUnavailable(EngineError, ConnectionError):
    """An engine cannot be reached, or does not answer as it should."""


class MissingExtra(FlowctxError, ImportError):
    """An optional dependency is not installed; the message says what to type."""

    def __init__(self, what: str, extra: str, *, package: str | None = None, module: str | None = None) -> None:
        wanted = package or f"'flowctx[{extra}]'"
        missing = f"{module}, which" if module else "an optional dependency that"
        super().__init__(f"{what} needs {missing} is not installed; type: pip install {wanted}")
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        return _missing_extra, (str(self), self.extra)


class UnsupportedEngine(FlowctxError, ImportError):
    """An engine is older than what was asked for needs; the message says which version has it, and which was found."""


def _missing_extra(message: str, extra: str) -> MissingExtra:
    error = MissingExtra.__new__(MissingExtra, message)
    error.extra = extra
    return error
