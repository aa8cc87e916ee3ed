"""The traceback of a failed step as text that can be kept and shown: bounded, and without secrets."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, Final

from flowctx.core.masking import mask_text, secret_values

#: The longest text, in characters; of a longer one the middle is left out.
MAX_TRACEBACK: Final = 8_000
#: How much of the beginning stays; the end says what went wrong.
_HEAD: Final = 2_000


def traceback_text(exception: BaseException, *data: Mapping[str, Any]) -> str:
    """Return the traceback of an exception, with those that it was raised from.

    Args:
        exception: The exception.
        *data: Parameters and configurations, in which some values may be secrets.

    Example:
        >>> "no rows" in traceback_text(ValueError("no rows"))
        True
    """
    try:
        text = "".join(traceback.format_exception(exception))
    except Exception:  # noqa: BLE001  # a broken __str__ must not hide which exception it was
        text = "".join(traceback.format_tb(exception.__traceback__)) + type(exception).__name__
    text = mask_text(text, secret_values(*data))
    if len(text) <= MAX_TRACEBACK:
        return text
    left_out = len(text) - MAX_TRACEBACK
    return f"{text[:_HEAD]}\n... {left_out:,} characters left out ...\n{text[_HEAD + left_out :]}"
