"""What people see is text: nothing in it moves a cursor, ends a line or breaks a terminal."""

from __future__ import annotations

import re

#: Control characters, line and paragraph separators, marks that turn the direction of text, halves of surrogate pairs.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HIDDEN_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with what cannot be seen in it as escapes.

    Args:
        text: Any text.
        lines: Keep newlines and tabs, as for a traceback.

    Example:
        >>> printable("a\x1b[2Jb\nc"), printable("a\x1b[2Jb\nc", lines=True)
        ('a\\x1b[2Jb\\nc', 'a\\x1b[2Jb\nc')
    """
    return (_HIDDEN_IN_LINES if lines else _HIDDEN).sub(_escape, text)


def well_formed(text: str) -> str:
    r"""Return a text that every encoding and every database takes: NUL and halves of surrogate pairs become escapes.

    Example:
        >>> well_formed("a\x00\ud800")
        'a\\x00\\ud800'
    """
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def text_of(exc: BaseException) -> str:
    """Return what an exception says; nothing where its own text cannot be made.

    Example:
        >>> text_of(ValueError("no rows"))
        'no rows'
    """
    try:
        return str(exc)
    except Exception:  # noqa: BLE001  # a broken __str__ must not hide which exception it was
        return ""


def brief(value: object, limit: int = 200) -> str:
    """Return the start of a value's text, for messages.

    Example:
        >>> brief("abcdef", 5)
        'ab...'
    """
    text = printable(value if isinstance(value, str) else repr(value))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def amount(count: int, noun: str) -> str:
    """Return how many there are of what, for messages.

    Args:
        count: How many.
        noun: One of them, as in ``"partition"``; several take an s, or es after ch.

    Example:
        >>> amount(1, "partition"), amount(12000, "partition"), amount(2, "batch")
        ('1 partition', '12,000 partitions', '2 batches')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def share(count: int, total: int, digits: int = 0) -> str:
    """Return a share in percent, never more than it is: all but one are not 100%.

    Args:
        count: How many.
        total: Of how many.
        digits: How many digits stand behind the point.

    Example:
        >>> share(997, 1000), share(9999, 10000, 1), share(6, 6, 1)
        ('99%', '99.9%', '100.0%')
    """
    return f"{count * 100 * 10**digits // total / 10**digits:.{digits}f}%"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
