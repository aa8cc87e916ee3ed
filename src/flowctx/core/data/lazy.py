"""A read-only dict whose values are fetched when they are first looked at."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any

from flowctx.core.data.plain import RESERVED, FrozenDict, JsonDict

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
        encoded: For each key, none of them reserved, the JSON of its value.
        read: Given a key and its JSON, reads the value.
    """

    __slots__ = ("_encoded", "_known", "_read")
    _encoded: Mapping[str, Any]
    _read: Callable[[str, Any], Any]
    _known: dict[str, Any]

    def __init__(self, encoded: Mapping[str, Any], read: Callable[[str, Any], Any]) -> None:
        dict.__init__(self, encoded)  # a value that is its own JSON has not been read
        self._encoded, self._read, self._known = encoded, read, {}

    def __getitem__(self, key: str) -> Any:
        value = super(LazyDict, self).__getitem__(key)
        if value is self._encoded.get(key, _LATER):
            value = self._known[key] = self._read(key, value)
            dict.__setitem__(self, key, value)
        return value

    def plus(self, key: str, value: Any) -> FrozenDict:
        """Return a new dict with one more item, without reading the others."""
        known = {**self._known, key: value}
        if key in self._encoded or key.startswith(RESERVED):  # it has a place among the others, or another name in JSON
            return LazyDict((*self, key), known, self.__getitem__)
        new = UnreadDict.__new__(UnreadDict)
        dict.__init__(new, self._encoded)  # of this one, all values would be read
        dict.update(new, known)
        new._encoded, new._read, new._known = self._encoded, self._read, known
        return new

    def encoded(self, write: Callable[[Any], Any]) -> Mapping[str, Any]:
        """Return the JSON of all values, to be read: as it came, or what ``write`` makes of those that were added.

        Args:
            write: Returns the JSON form of a value.
        """
        if not self._known:
            return self._encoded
        data = dict(self._encoded)
        for key, value in self._known.items():
            if key not in data:
                data[key] = value if type(value) is JsonDict else write(value)
        return data
