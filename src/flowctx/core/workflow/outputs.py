"""Outputs: what a step reads of several partitions, loaded when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from flowctx.core.data.plain import freeze
from flowctx.core.data.tables import Table, join_tables
from flowctx.core.errors import PlainDataError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.printable import amount

#: So many outputs are loaded at once: few, so that one that is looked at does not wait for all.
_AT_ONCE: Final = 64

#: Loads the outputs of some partitions.
Load = Callable[[Sequence[PartitionKey]], Mapping[PartitionKey, Mapping[str, Any]]]


class Outputs(Mapping[PartitionKey, Mapping[str, Any]]):
    """The outputs of several partitions, by partition key, in the order of their scheme.

    Nothing is loaded before it is looked at. A test makes them of a dict.

    Args:
        outputs: For each partition its output.

    Example:
        >>> days = Outputs({PartitionKey(date=f"2026-01-0{day}"): {"nav": 100.0 + day} for day in (5, 6)})
        >>> [output["nav"] for output in days.values()], days.last["nav"]
        ([105.0, 106.0], 106.0)
    """

    def __init__(self, outputs: Mapping[PartitionKey, Mapping[str, Any]] | None = None) -> None:
        self._keys: tuple[PartitionKey, ...] = tuple(outputs or ())
        self._loaded: dict[PartitionKey, Mapping[str, Any]] = {
            key: freeze(output, f"the output of {key}") for key, output in (outputs or {}).items()
        }
        self._load: Load | None = None
        self._at_once = _AT_ONCE
        self._places = {key: place for place, key in enumerate(self._keys)}

    @classmethod
    def lazy(cls, keys: Sequence[PartitionKey], load: Load) -> Outputs:
        """Return outputs that are loaded when they are looked at.

        Args:
            keys: The partitions, in order.
            load: Loads the outputs of some of them.
        """
        made = cls()
        made._keys, made._load = tuple(keys), load
        made._places = {key: place for place, key in enumerate(made._keys)}
        return made

    def __getitem__(self, key: PartitionKey) -> Mapping[str, Any]:
        place = self._places[key]
        found = self._loaded.get(key)
        if found is None:
            assert self._load is not None  # noqa: S101 - what was given is there
            some = [key for key in self._keys[place : place + self._at_once] if key not in self._loaded]
            self._loaded.update(self._load(some))
            found = self._loaded[key]
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[PartitionKey]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def pages(self, size: int) -> Iterator[Outputs]:
        """Yield these outputs so many at a time: all of a page are loaded at once, and let go with it.

        Args:
            size: How many partitions.

        Example:
            >>> days = Outputs({PartitionKey(date=f"2026-01-0{day}"): {"nav": day} for day in (5, 6, 7)})
            >>> [len(page) for page in days.pages(2)]
            [2, 1]
        """
        for start in range(0, len(self._keys), size):
            keys = self._keys[start : start + size]
            page = Outputs.lazy(keys, self._load) if self._load is not None else Outputs()
            page._at_once = size
            page._keys, page._places = keys, {key: place for place, key in enumerate(keys)}
            page._loaded = {key: self._loaded[key] for key in keys if key in self._loaded}
            yield page

    @property
    def first(self) -> Mapping[str, Any] | None:
        """The output of the first partition, or ``None`` if there is none."""
        return self[self._keys[0]] if self._keys else None

    @property
    def last(self) -> Mapping[str, Any] | None:
        """The output of the last partition, or ``None`` if there is none."""
        return self[self._keys[-1]] if self._keys else None

    def table(self, name: str = "table") -> Table:
        """Return the tables of all outputs as one, with the dimensions as columns before theirs.

        Columns are matched by name. One that is null in some tables takes its type from the others; integers become
        floats, and decimals take the largest scale, where that is exact. Any other difference is refused. A table that
        has a column of a dimension's name keeps it, if it holds the partition's own value.

        Args:
            name: The name of the table in each output.

        Raises:
            PlainDataError: An output has no such table, or their columns do not fit together; names the partitions.

        Example:
            ::

                frame = window.table("rows").to_pandas()
        """
        parts = list(self.tables(name))
        if not parts:
            raise PlainDataError(f"there are no outputs, so nothing says which columns table {name!r} has")
        return join_tables(parts)

    def tables(self, name: str) -> Iterator[tuple[dict[str, str], Table]]:
        """Yield the table of each output, with the dimensions of its partition before it.

        Args:
            name: The name of the table in each output.

        Raises:
            PlainDataError: An output has no such table.
        """
        for key, output in self.items():
            if not isinstance(output.get(name), Table):
                there = ", ".join(n for n, value in output.items() if isinstance(value, Table)) or "none"
                raise PlainDataError(f"the output of {key} has no table {name!r}; its tables: {there}")
            yield key.to_dict(), output[name]

    def __repr__(self) -> str:
        ends = f" from {self._keys[0]} to {self._keys[-1]}" if self._keys else ""
        return f"<Outputs: {amount(len(self), 'partition')}{ends}>"
