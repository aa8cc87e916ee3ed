"""CheckpointState: how far a run had come that is continued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from flowctx.core.errors import ContextError


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointState:
    """How far a run had come when it was interrupted, for the steps of the run that continues it.

    Example:
        >>> CheckpointState(completed=("fetch",), failed="validate", error="no rows").attempt
        1
    """

    #: Names of the steps that are complete and are not run again.
    completed: tuple[str, ...] = ()
    #: The step that failed, if one did.
    failed: str | None = None
    #: Why it failed.
    error: str | None = None
    #: Which attempt at the run this is, from 1.
    attempt: int = 1
    #: The run that this one continues.
    resumed_from: str | None = None

    def __post_init__(self) -> None:
        completed: object = self.completed
        if isinstance(completed, str):
            raise ContextError(f"completed={self.completed!r} is text; pass the names of steps in a tuple")
        object.__setattr__(self, "completed", tuple(self.completed))
        if not all(isinstance(name, str) for name in self.completed):
            raise ContextError(f"completed={self.completed!r} must hold names of steps")
        if isinstance(self.attempt, bool) or not isinstance(self.attempt, int) or self.attempt < 1:
            raise ContextError(f"attempt={self.attempt!r} must be an int from 1")
        for name in ("failed", "error", "resumed_from"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ContextError(f"{name}={value!r} must be text or None")

    def to_dict(self) -> dict[str, Any]:
        """Return a new JSON-ready dict."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckpointState:
        """Rebuild what :meth:`to_dict` wrote; fields of newer versions are ignored."""
        return cls(**{f.name: data[f.name] for f in fields(cls) if f.name in data})
