"""StepResult: what a step says when it is done; ErrorCategory and QualityMetrics, which travel with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flowctx.core.data.encoding import to_json
from flowctx.core.data.plain import EMPTY, FrozenDict, freeze
from flowctx.core.data.tables import TABLE, ArrowStream, is_frame
from flowctx.core.errors import PlainDataError
from flowctx.core.suggestions import a_kind


class StepStatus(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    #: It was not started, because a step before it failed.
    NOT_RUN = "not_run"
    #: It failed, is optional, and the run went on.
    TOLERATED = "tolerated"


#: What each step is asked for: in Python 3.11, to find a member of an enum takes as long as to call a function.
OK, FAILED = StepStatus.OK, StepStatus.FAILED


class ErrorCategory(StrEnum):
    """Why a step failed; decides whether trying again can help."""

    #: The network, a lock, a full queue: the same call may go through in a minute.
    TRANSIENT = "TRANSIENT"
    #: It took too long.
    TIMEOUT = "TIMEOUT"
    #: Something this step needs is not there yet: a file, a service.
    DEPENDENCY = "DEPENDENCY"
    #: The step was set up wrongly; trying again changes nothing.
    CONFIGURATION = "CONFIGURATION"
    #: The data is wrong; trying again changes nothing.
    DATA_QUALITY = "DATA_QUALITY"
    #: Anything else, such as a bug.
    INTERNAL = "INTERNAL"

    @property
    def retryable(self) -> bool:
        """Whether a retry policy applies; otherwise the step fails at once."""
        return self not in (ErrorCategory.CONFIGURATION, ErrorCategory.DATA_QUALITY)


@dataclass(frozen=True, kw_only=True)
class QualityMetrics:
    """What a step found out about its data.

    Raises:
        PlainDataError: A count that is no int, a rate that is no number, a reason that is no text.

    Example:
        >>> QualityMetrics(counts={"rows": 20}, rates={"null": 0.05}, passed=False, reasons=["nulls"]).reasons
        ('nulls',)
    """

    #: How many of what, such as ``{"rows": 20}``.
    counts: Mapping[str, int] = field(default_factory=FrozenDict)
    #: Shares and ratios, such as ``{"null": 0.05}``.
    rates: Mapping[str, float] = field(default_factory=FrozenDict)
    #: Whether the data is good enough.
    passed: bool = True
    #: Why it is not.
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kinds in (("counts", int), ("rates", (int, float))):
            values = _dict(getattr(self, name), name)
            for key, value in values.items():
                if isinstance(value, bool) or not isinstance(value, kinds):
                    wanted = "an int" if name == "counts" else "a number"
                    raise PlainDataError(f"{name}[{key!r}] is {value!r}; it must be {wanted}")
            object.__setattr__(self, name, values)
        if not isinstance(self.passed, bool):
            raise PlainDataError(f"passed is {self.passed!r}; it must be True or False: use bool(...)")
        text: object = self.reasons
        reasons = (text,) if isinstance(text, str) else tuple(self.reasons)
        if not all(isinstance(reason, str) for reason in reasons):
            raise PlainDataError(f"reasons is {self.reasons!r}; it must hold text")
        object.__setattr__(self, "reasons", reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return a new plain dict."""
        return {
            "counts": dict(self.counts),
            "rates": dict(self.rates),
            "passed": self.passed,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step returns; made by :meth:`ok`, :meth:`fail` or :meth:`skip`.

    Example:
        >>> StepResult.ok({"rows": 3}, context_updates={"validated": True}).output
        {'rows': 3}
        >>> StepResult.fail("no rows", category="DATA_QUALITY").category.retryable
        False
        >>> StepResult.skip("did not trade").status
        <StepStatus.SKIPPED: 'skipped'>
    """

    #: How the step ended.
    status: StepStatus
    #: What it hands to the steps after it.
    output: Mapping[str, Any] = field(default_factory=FrozenDict)
    #: Parameters that every later step sees.
    context_updates: Mapping[str, Any] = field(default_factory=FrozenDict)
    #: What it found out about its data.
    quality: QualityMetrics | None = None
    #: Why it failed or was skipped.
    error: str | None = None
    #: Whether trying again can help; set on failures only, tolerated ones too.
    category: ErrorCategory | None = None

    @property
    def retryable(self) -> bool:
        """Whether it is a failure that a retry may mend, as its category says.

        Example:
            >>> StepResult.fail("no rows", category="DATA_QUALITY").retryable, StepResult.fail("a bug").retryable
            (False, True)
        """
        return self.status is StepStatus.FAILED and (self.category is None or self.category.retryable)

    @property
    def success(self) -> bool:
        """Whether the step is done: neither failed nor skipped."""
        return self.status is StepStatus.OK

    def to_dict(self) -> dict[str, Any]:
        """Return a new JSON-ready dict.

        Example:
            >>> StepResult.ok({"rows": 3}).to_dict()["output"]
            {'rows': 3}
        """
        return {
            "status": str(self.status),
            "success": self.success,
            "output": to_json(self.output),
            "context_updates": to_json(self.context_updates),
            "quality": None if self.quality is None else to_json(self.quality.to_dict()),
            "error": self.error,
            "category": None if self.category is None else str(self.category),
        }

    @classmethod
    def ok(
        cls,
        output: Mapping[str, Any] | ArrowStream | None = None,
        context_updates: Mapping[str, Any] | None = None,
        quality: QualityMetrics | None = None,
    ) -> StepResult:
        """The step is done.

        Args:
            output: Plain data and tables with text keys; ``None`` is empty, and a frame alone is ``{"table": frame}``.
            context_updates: Parameters to set for **all** later steps.
            quality: What it found out about its data.

        Raises:
            PlainDataError: ``output`` or ``context_updates`` is no dict of plain data.
        """
        return cls(
            status=OK,
            output=_dict(output, "output"),
            context_updates=_dict(context_updates, "context_updates"),
            quality=_quality(quality),
        )

    @classmethod
    def fail(
        cls,
        error: str,
        category: ErrorCategory | str = ErrorCategory.INTERNAL,
        output: Mapping[str, Any] | None = None,
        quality: QualityMetrics | None = None,
    ) -> StepResult:
        """The step failed.

        Args:
            error: Why, in words for the person who is called at night.
            category: An :class:`ErrorCategory` or its name; decides whether the step is tried again.
            output: What it found all the same; recorded, not handed on.
            quality: What it found out about its data.

        Raises:
            PlainDataError: An unknown category, or an output that is no plain data.
        """
        if not isinstance(error, (str, BaseException)) or not str(error):
            raise PlainDataError(f"error is {error!r}; say in words why the step failed")
        try:
            known = ErrorCategory(category)
        except ValueError:
            names = ", ".join(ErrorCategory)
            raise PlainDataError(f"category is {category!r}; it must be one of {names}") from None
        return cls(
            status=StepStatus.FAILED,
            output=_dict(output, "output"),
            error=str(error),
            category=known,
            quality=_quality(quality),
        )

    @classmethod
    def skip(cls, reason: str) -> StepResult:
        """There is nothing to do; the steps after this one are skipped too.

        Args:
            reason: Why, for the log and the UI.
        """
        if not isinstance(reason, str) or not reason:
            raise PlainDataError(f"reason is {reason!r}; say in words why there is nothing to do")
        return cls(status=StepStatus.SKIPPED, error=reason)


def as_result(returned: object) -> StepResult:
    """Return what a step returned as its result: a dict is the output, ``None`` an empty one.

    Raises:
        PlainDataError: It is nothing that a step returns, or the dict is no plain data.
    """
    if isinstance(returned, StepResult):
        return returned
    output: Any = returned
    if output is None or type(output) is dict or isinstance(output, Mapping) or is_frame(output):
        return StepResult.ok(output)
    raise PlainDataError(
        f"it returned {a_kind(returned)}; a step returns a StepResult, a dict, a frame or None: "
        "return {'result': ...}"
    )


def _dict(value: object, path: str) -> FrozenDict:
    if value is None:
        return EMPTY
    if type(value) is not dict and path == "output" and is_frame(value):
        value = {TABLE: value}
    frozen = freeze(value, path)
    if not isinstance(frozen, FrozenDict):
        raise PlainDataError(f"{path} is {a_kind(value)}; it must be a dict, such as {{'rows': ...}}")
    return frozen


def _quality(value: object) -> QualityMetrics | None:
    if value is not None and not isinstance(value, QualityMetrics):
        raise PlainDataError(f"quality is {a_kind(value)}; pass QualityMetrics(counts={{'rows': 3}})")
    return value
