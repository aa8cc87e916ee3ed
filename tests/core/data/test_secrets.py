"""Plain data that is stored without the secrets in it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flowctx import WorkflowError
from flowctx.core.data.plain import freeze
from flowctx.core.data.secrets import stands_for, with_digests, with_secrets, without_secrets

CONFIG = freeze({
    "api_token": "hunter2hunter2",
    "db": {"password": "hunter3hunter3", "user": "me"},
    "url": "postgresql://me:hunter4@db/x",
    "rate": Decimal("1.10"),
    "$odd": None,
    "note": "log in as hunter2hunter2",
})  # fmt: skip


def test_what_is_no_secret_stays_as_it_is():
    """Secrets are hidden by name, in URLs and wherever else a known one stands; the rest keeps its types."""
    assert without_secrets(CONFIG) == {
        "api_token": "***",
        "db": {"password": "***", "user": "me"},
        "url": "postgresql://me:***@db/x",
        "rate": Decimal("1.10"),
        "$odd": None,
        "note": "log in as ***",
    }
    assert without_secrets({}) == {}


def test_names_can_be_added(monkeypatch):
    """What the user calls secret is hidden too, from then on."""
    assert without_secrets({"seat": "hunter5"}) == {"seat": "hunter5"}
    monkeypatch.setenv("FLOWCTX_SECRET_NAMES", "seat")
    assert without_secrets({"seat": "hunter5"}) == {"seat": "***"}


def test_hidden_values_come_from_where_they_are_declared():
    """What was stored, with the secrets that the code has, is what it was; a value that differed is as stored."""
    assert with_secrets(without_secrets(CONFIG), CONFIG, "it") == CONFIG
    stored = without_secrets({**CONFIG, "rate": Decimal("2.20")})
    assert with_secrets(stored, CONFIG, "it")["rate"] == Decimal("2.20")


def test_what_was_stored_in_clear_is_read():
    """Rows of an older flowctx hold values as they were."""
    assert with_secrets({"api_token": "older"}, {"api_token": "newer"}, "it") == {"api_token": "older"}


def test_a_secret_that_is_nowhere_is_an_error():
    """A value that is hidden, and that the code does not have, is not replaced by stars in silence."""
    with pytest.raises(WorkflowError, match="the config had secrets in api_token, which are not kept; declare them"):
        with_secrets({"api_token": "***"}, {}, "the config")


@pytest.mark.parametrize("inner", [1, {"x": 1}])
def test_what_stands_under_a_name_that_is_hidden_stands_for_itself(inner):
    """The name of a field may have a secret in it, and is stored without."""
    data = {"m": {"password=abc": inner}}
    assert stands_for(with_digests(data), data)
