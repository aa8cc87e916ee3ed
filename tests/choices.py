"""Choices of what JSON has no type for, as parameters."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum


class Rate(Enum):
    """A choice of decimals."""

    LOW = Decimal("0.25")
    HIGH = Decimal("0.50")


class Cut(Enum):
    """A choice of dates."""

    FIRST = date(2026, 1, 5)
    LAST = date(2026, 1, 6)


class Moment(Enum):
    """A choice of times."""

    EARLY = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    LATE = datetime(2026, 1, 5, 16, 30, tzinfo=UTC)


class Opening(Enum):
    """A choice of times of day."""

    EARLY = time(9, 30)
    LATE = time(16)


class Pause(Enum):
    """A choice of durations."""

    SHORT = timedelta(hours=1)
    LONG = timedelta(hours=2)


class Cap(Enum):
    """None, or a number."""

    NONE = None
    SMALL = 100


class Depth(Enum):
    """A text, or a number, or None."""

    ALL = "all"
    TOP = 1
    NONE = None
