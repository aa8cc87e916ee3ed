"""Every error that flowctx raises on purpose.

::

    FlowctxError
    ├── PartitionError (ValueError)          a partition key, scheme or selection that cannot be
    │   └── UnknownPartition (KeyError)      a well-formed key that the scheme does not have
    ├── MissingDimension (KeyError, AttributeError)
    ├── CalendarError (ValueError)           a calendar, cadence or business date that cannot be
    ├── PlainDataError (TypeError)           a value that may not flow through a context
    ├── ReadOnlyError (TypeError)            somebody tried to change a value in place
    ├── PayloadError (ValueError)            stored data that cannot be read back
    │   └── PayloadVersionError              written by a newer, incompatible flowctx
    ├── WorkflowError (ValueError)           a workflow that cannot run as it was built
    ├── ContextError (ValueError)            a run context that cannot be made from what was given
    │   └── ContextConflict                  two branches wrote one parameter differently
    ├── OutputTooLarge (ValueError)          an output over the limit and nowhere to put it
    ├── ArtifactError (OSError)              an artifact that is gone or is not what was written
    ├── RunFailed (RuntimeError)             raised by ``RunResult.raise_for_failure()``
    └── MissingExtra (ImportError)           an optional dependency that is not installed

Each message says what was wrong, with the offending value, and what to do about it.
"""

from __future__ import annotations


class FlowctxError(Exception):
    """Base of every error that flowctx raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show repr(message), with its quotes and escaped newlines.
        return str(self.args[0]) if self.args else ""


class PartitionError(FlowctxError, ValueError):
    """A partition key, scheme or selection that cannot be."""


class UnknownPartition(PartitionError, KeyError):
    """A well-formed partition key that the scheme does not have."""


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


class ContextError(FlowctxError, ValueError):
    """A run context that cannot be made from what was given."""


class ContextConflict(ContextError):
    """Two branches of a workflow wrote one parameter with different values."""


class OutputTooLarge(FlowctxError, ValueError):
    """A step's output is over the limit and no artifact store is configured."""


class ArtifactError(FlowctxError, OSError):
    """An artifact that is gone, or is not what was written."""


class RunFailed(FlowctxError, RuntimeError):
    """A run did not succeed; the message names the step and its error."""


class MissingExtra(FlowctxError, ImportError):
    """An optional dependency is not installed; the message says what to type."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency that is not installed; "
                         f"type: pip install 'flowctx[{extra}]'")
        self.extra = extra
