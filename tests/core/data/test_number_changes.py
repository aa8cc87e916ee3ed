"""By how much numbers differ, whatever their types and digits."""

from decimal import Decimal

import pytest

from flowctx.core.data.number_changes import are_near, is_number, number_change

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (1.0, 1.5, 0.5),
        (2**53, 2**53 + 1, 1.0),
        (2**53 + 1, 2.0**53, -1.0),
        (Decimal(2**53), 2**53 + 1, 1.0),
        (Decimal("0.1"), Decimal("0.3"), 0.2),
        (10**400, 1, -INFINITE),
        (1, Decimal("1E+999999"), INFINITE),
        (1, INFINITE, INFINITE),
    ],
    ids=str,
)
def test_a_change_is_rounded_once(old, new, change):
    """Numbers of any two types are subtracted exactly; what no float can be is infinite."""
    assert number_change(old, new) == change


@pytest.mark.parametrize(
    ("old", "new", "atol", "rtol", "near"),
    [
        (1.0, 1.5, 0.5, 0, True),
        (10**18, 10**18 + 17, 16.9, 0, False),
        (10**18, 10**18 + 17, 17, 0, True),
        (10**400, 10**400 + 1, 0, 1e-300, True),
        (10**400, 10**400 + 1, 0.9, 0, False),
        (Decimal("1.0"), Decimal("1.3"), 0.3, 0, True),
        (Decimal("71"), 100, 0, 0.29, True),
        (INFINITE, INFINITE, 1, 1, False),
        (1, INFINITE, 1, 1, False),
        (Decimal("NaN"), 1, 1, 1, False),
    ],
    ids=str,
)
def test_numbers_are_near_within_a_tolerance_as_it_is_written(old, new, atol, rtol, near):
    """By so much, or by a part of the new one; what is not finite is near to nothing."""
    assert are_near(old, new, atol, rtol) is near


def test_a_truth_value_is_no_number():
    """Nor is text."""
    assert [is_number(value) for value in (1, 1.0, Decimal(1), True, "1", None)] == [True] * 3 + [False] * 3
