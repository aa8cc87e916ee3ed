"""Which steps the workflow has whose step runs now, so that a slip in a step's name is heard."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from contextvars import ContextVar, Token

from flowctx.core.suggestions import did_you_mean

#: The steps of the workflow whose step runs now, where they are known.
_STEPS: ContextVar[Collection[str]] = ContextVar("flowctx_steps", default=())


class steps_known:  # noqa: N801  # used as a function: a generator would take as long as a small step
    """Say, for as long as a step runs, which steps its workflow has: other names are slips."""

    __slots__ = ("_steps", "_token")

    def __init__(self, steps: Collection[str]) -> None:
        self._steps = steps
        self._token: Token[Collection[str]] | None = None

    def __enter__(self) -> None:
        self._token = _STEPS.set(self._steps or _STEPS.get())  # a step of no workflow knows what its engine does

    def __exit__(self, *exc_info: object) -> None:
        if self._token is not None:
            _STEPS.reset(self._token)


def warn_of_no_step(name: object) -> None:
    """Warn that there is no step of that name, where it is known which there are; of each line of code once."""
    steps = _STEPS.get()
    if steps and name not in steps:
        hint = did_you_mean(str(name), steps)
        warnings.warn(f"get_output({name!r}): the workflow has no such step; {hint}", stacklevel=3)
