"""Whether a batch is asked for what it was asked for before."""

from __future__ import annotations

from flowctx.core.batches.records import BatchRecord
from flowctx.core.data.encoding import digest
from flowctx.core.data.secrets import without_secrets
from flowctx.core.errors import BatchError
from flowctx.core.printable import amount


def refuse_another(known: BatchRecord, requested: BatchRecord) -> None:
    """Refuse another selection, or other parameters, than a batch has.

    Raises:
        BatchError: They are others.
    """
    if known.digest != requested.digest:
        what = f"{amount(known.total or 0, 'partition')} ({brief(known.selection)})"
        now = f"{requested.total:,} ({brief(requested.selection)})"
        if known.selection == requested.selection:  # the text is the same, and the values behind it are not
            now += "; a dimension or the calendar of the workflow has changed since"
    elif digest(before := without_secrets(known.params)) != digest(requested.params):
        what, now = f"the parameters {brief(dict(before))}", f"{brief(dict(requested.params))}"
    elif known.params_from != requested.params_from:
        what, now = f"parameters of {known.params_from or 'no function'}", f"{requested.params_from or 'no function'}"
    else:
        return
    raise BatchError(
        f"batch {requested.batch_id!r} has {what}, and this asks for {now}; ask for the same, take another id, or add "
        "this to it with extend=True (--extend)"
    )


def brief(value: object) -> str:
    """Return a value in few characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
