"""A read-only dict whose values are fetched when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any

from flowctx.core.data.plain import FrozenDict, JsonDict

#: Stands for a value that was not looked at yet. One object for all of them: a step far down a long chain has a
#: thousand outputs before it, and making an object for each costs more than the step.
_LATER: Any = object()


class LazyDict(JsonDict):  # of all kinds the last, so that Python asks it first whether it equals another
    """A read-only dict whose values are fetched when they are first looked at, and once.

    Keys, length and membership cost nothing; comparing, copying or listing the values fetches what is missing.

    Args:
        order: All keys, in order.
        ready: Values that are at hand.
        fetch: Given a key, returns its value.
    """

    __slots__ = ("_fetch",)
    _fetch: Callable[[str], Any]

    def __init__(self, order: Iterable[str], ready: Mapping[str, Any], fetch: Callable[[str], Any]) -> None:
        super().__init__(dict.fromkeys(order, _LATER))
        dict.update(self, ready)
        self._fetch = fetch

    def plus(self, key: str, value: Any) -> FrozenDict:
        """Return a new dict with one more item, without fetching the others."""
        return LazyDict((), {**dict(dict.items(self)), key: value}, self._fetch)

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if value is _LATER:
            value = self._fetch(key)
            dict.__setitem__(self, key, value)
        return value

    def get(self, key: str, default: Any = None) -> Any:  # noqa: D102  # as dict's, and so on below
        return self[key] if key in self else default  # noqa: SIM401  # it would call itself

    # Overriding __iter__ makes dict(x) and {**x} go through keys() and __getitem__ instead of the raw table.
    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def _all(self) -> dict[str, Any]:
        return {key: self[key] for key in self}

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # noqa: D102
        return self._all().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # noqa: D102
        return self._all().items()

    def copy(self) -> dict[str, Any]:  # noqa: D102
        return self._all()

    def __or__(self, other: Any) -> Any:
        return self._all() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._all()

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, LazyDict) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())


class UnreadDict(LazyDict):
    """A read-only dict whose values are read from their JSON when they are first looked at, and once.

    Args:
        encoded: For each key the JSON of its value.
        read: Given a key, reads its value.
    """

    __slots__ = ("_added", "_encoded")
    _encoded: Mapping[str, Any]
    _added: Mapping[str, Any]

    def __init__(self, encoded: Mapping[str, Any], read: Callable[[str], Any]) -> None:
        dict.__init__(self, dict.fromkeys(encoded, _LATER))
        self._fetch, self._encoded, self._added = read, encoded, {}

    def plus(self, key: str, value: Any) -> FrozenDict:
        """Return a new dict with one more item, without reading the others."""
        if key in self._encoded:
            return super().plus(key, value)  # which has a place among the others
        new = UnreadDict.__new__(UnreadDict)
        dict.__init__(new, dict.items(self))
        dict.__setitem__(new, key, value)
        new._fetch, new._encoded, new._added = self._fetch, self._encoded, {**self._added, key: value}
        return new

    def encoded(self, write: Callable[[Any], Any]) -> dict[str, Any]:
        """Return a new dict with the JSON of all values: as it came, or what ``write`` makes of those that were added.

        Args:
            write: Returns the JSON form of a value.
        """
        return {**self._encoded, **{key: write(value) for key, value in self._added.items()}}
