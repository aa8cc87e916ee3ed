"""What somebody probably meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

#: How alike two names are of which one is taken for a slip of the other.
SLIP: Final = 0.8


def nearest(word: str, known: Iterable[str], n: int = 1, *, cutoff: float = 0.6) -> list[str]:
    """Return up to ``n`` of the known words that look most like ``word``, the best first.

    Example:
        >>> nearest("APPL", ["AAPL", "IBM"])
        ['AAPL']
    """
    import difflib  # only mistakes need it, and importing flowctx must be cheap

    return difflib.get_close_matches(word, list(known), n=n, cutoff=cutoff)


def did_you_mean(word: str, known: Collection[str], otherwise: str | None = None) -> str:
    """Return the question whether one of the known words was meant, or else the remedy: by default what there is.

    Example:
        >>> did_you_mean("APPL", ["AAPL", "IBM"])
        "did you mean 'AAPL'?"
        >>> did_you_mean("ESTR", ["AAPL", "IBM"])
        'it has AAPL, IBM'
    """
    near = nearest(word, known)
    return f"did you mean {near[0]!r}?" if near else otherwise or f"it has {', '.join(known)}"


def question(near: Sequence[str]) -> str:
    """Return the question whether the nearest word was meant, to stand before a remedy; empty if there is none.

    Example:
        >>> question(nearest("APPL", ["AAPL", "IBM"])), question([])
        ("did you mean 'AAPL'? ", '')
    """
    return f"did you mean {near[0]!r}? " if near else ""


def a_kind(value: object) -> str:
    """Return what a value is, with its article, for an error.

    Example:
        >>> a_kind(1), a_kind("x"), a_kind({1})
        ('an int', 'a str', 'a set')
    """
    return with_article(type(value).__name__)


def with_article(name: str) -> str:
    """Return a name after the article that it takes.

    Example:
        >>> with_article("int"), with_article("user.Set")
        ('an int', 'a user.Set')
    """
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"
