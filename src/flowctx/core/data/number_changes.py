"""By how much numbers differ: they are subtracted exactly, and only what comes of it is rounded."""

from __future__ import annotations

import math
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Final, TypeGuard

#: Exact where the digits are not many thousands; what is no number becomes NaN.
_EXACT: Final = Context(prec=10_000, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[])


def is_number(value: object) -> TypeGuard[int | float | Decimal]:
    """Whether a value is a number, and no truth value."""
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def number_change(old: float | Decimal, new: float | Decimal) -> float:
    """Return by how much a number changed; infinite if it is more than a float can say.

    Example:
        >>> number_change(10**18, 10**18 + 17), number_change(Decimal("1.00"), Decimal("1.01"))
        (17.0, 0.01)
    """
    if isinstance(old, float) and isinstance(new, float):
        return new - old
    return float(_EXACT.subtract(Decimal(new), Decimal(old)))


def are_near(old: float | Decimal, new: float | Decimal, atol: float, rtol: float) -> bool:
    """Whether two numbers differ by no more than a tolerance; one that is not finite is near to none.

    Args:
        old: The one number.
        new: The other.
        atol: They may differ by so much.
        rtol: They may differ by this part of the new one, too.

    Example:
        >>> are_near(10**18, 10**18 + 17, 0.001, 0), are_near(Decimal("1.0"), Decimal("1.3"), 0.3, 0)
        (False, True)
    """
    if isinstance(old, float) and isinstance(new, float):
        return math.isfinite(old) and math.isfinite(new) and abs(new - old) <= atol + rtol * abs(new)
    before, after = Decimal(old), Decimal(new)
    if not (before.is_finite() and after.is_finite()):
        return False
    part = _EXACT.multiply(_as_written(rtol), after.copy_abs())
    return _EXACT.subtract(after, before).copy_abs() <= _EXACT.add(_as_written(atol), part)


def _as_written(number: float) -> Decimal:
    return Decimal(str(number))
