"""Dicts and lists that cannot be changed: equal to ordinary ones, shared instead of copied."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Any, NoReturn

from flowctx.core.errors import ReadOnlyError


def thaw(value: Any) -> Any:
    """Return a deep copy of plain data in ordinary dicts and lists, to be changed at will.

    Example:
        >>> rows = thaw(FrozenDict(rows=FrozenList([1])))
        >>> rows["rows"].append(2); rows
        {'rows': [1, 2]}
    """
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    kind = "dict" if isinstance(self, dict) else "list"
    raise ReadOnlyError(
        f"this {kind} belongs to a context and is read-only; copy it first: "
        f"{kind}(value), or flowctx.thaw(value) for all that is in it"
    )


def _refrozen(value: Any) -> Any:
    from flowctx.core.plain import freeze

    return freeze(value)


class FrozenDict(dict[str, Any]):
    """A read-only dict: equal to a plain one, shared between contexts, refusing every change."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def plus(self, key: str, value: Any) -> FrozenDict:
        """Return a new read-only dict with one more (or one other) item; ``value`` must be frozen."""
        return FrozenDict({**self, key: value})

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thaw(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _refrozen, (thaw(self),)


class FrozenList(list[Any]):
    """A read-only list: equal to a plain one, shared between contexts, refusing every change."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thaw(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _refrozen, (thaw(self),)


#: Stands for a value that was not looked at yet. One object for all of them: a step far down a long chain has a
#: thousand outputs before it, and making an object for each costs more than the step.
_LATER: Any = object()


class LazyDict(FrozenDict):
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
