"""Which steps the workflow has whose step runs now, so that a slip in a step's name is heard."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flowctx.core.suggestions import nearest

#: The steps of the workflow whose step runs now, where they are known.
_STEPS: ContextVar[Collection[str]] = ContextVar("flowctx_steps", default=())


@contextmanager
def steps_known(steps: Collection[str]) -> Iterator[None]:
    """Say, for as long as a step runs, which steps its workflow has: other names are slips."""
    token = _STEPS.set(steps or _STEPS.get())  # a step of no workflow knows what its engine does
    try:
        yield
    finally:
        _STEPS.reset(token)


def warn_of_no_step(name: object) -> None:
    """Warn that there is no step of that name, where it is known which there are; of each line of code once."""
    steps = _STEPS.get()
    if steps and name not in steps:
        near = nearest(str(name), steps)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(steps)}"
        warnings.warn(f"get_output({name!r}): the workflow has no such step; {hint}", stacklevel=3)
