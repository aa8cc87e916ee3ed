"""The outputs of a context that is no step's: to ask for one is an error, as ``None`` would say that it was skipped."""

from __future__ import annotations

from typing import Any, NoReturn

from flowctx.core.data.plain import FrozenDict
from flowctx.core.errors import MissingKey


class NoOutputs(FrozenDict):
    """An empty dict of outputs that refuses to be asked for one; ``in`` and a loop say that it is empty.

    Args:
        instead: What to do instead.
    """

    __slots__ = ("_instead",)

    def __init__(self, instead: str) -> None:
        super().__init__()
        self._instead = instead

    def get(self, key: object, default: Any = None) -> NoReturn:
        """Refuse: whether the step has an output is not known here."""
        self.__missing__(key)

    def __missing__(self, key: object) -> NoReturn:
        raise MissingKey(
            f"no output of step {key!r} here: workflow_context() has none, as outputs go to steps; {self._instead}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return NoOutputs, (self._instead,)
