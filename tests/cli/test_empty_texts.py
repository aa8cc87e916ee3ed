"""Options and arguments that are empty texts, as of a variable that was never set: none is taken for one left out."""

from __future__ import annotations

import pytest

BATCH = ("backfill", "cli_flows:prices", "--batch", "b")


@pytest.fixture
def filled(shell):
    """A shell with a batch b."""
    shell.mend()
    shell(*BATCH, "--select", "symbol=IBM", "--workers", "1")
    return shell


@pytest.mark.parametrize(
    ("option", "command"),
    [
        ("--select", BATCH),
        ("--select", (*BATCH, "--extend")),
        ("--select", (*BATCH[:3], "other", "--dry-run")),
        ("--select", (*BATCH, "--stale")),
        ("--until", BATCH),
        ("--params-from", BATCH),
        ("--from-step", BATCH),
        ("--ledger", BATCH),
        ("--select", ("output", "cli_flows:prices", "fetch")),
        ("--known-at", ("output", "cli_flows:prices", "fetch")),
        ("--select", ("diff", "cli_flows:prices", "--batch", "b")),
        ("--select", ("stale", "cli_flows:prices")),
        ("--select", ("verify", "cli_flows:prices")),
        ("--run-id", ("run", "cli_flows:prices", "--partition", "IBM")),
        ("--partition", ("run", "cli_flows:prices")),
        ("--partition", ("runs",)),
        ("--partition", ("captures", "prices")),
        ("--workflow", ("status", "b")),
        ("--batch", ("runs",)),
        ("--ledger", ("ledger", "prune", "--days", "9")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_an_option_that_is_empty_is_refused(filled, option, command):
    """It would pass for an option that was left out: of a selection, for all partitions."""
    for text in ("", " "):
        errors = filled(*command, option, text, exit_code=2)
        assert "it is empty; leave the option out, or say what is meant" in errors


@pytest.mark.parametrize(
    "command",
    [
        ("show", ""),
        ("show", "", "--lineage"),
        ("resume", ""),
        ("replay", " ", "fetch"),
        ("status", ""),
        ("cancel", ""),
        ("captures", ""),
        ("run", ""),
    ],
    ids=" ".join,
)
def test_an_argument_that_is_empty_is_refused(filled, command):
    """It would be the beginning of the only run's id."""
    assert "it is empty; say what is meant" in filled(*command, exit_code=2)


@pytest.mark.parametrize("select", ["symbol=IBM;", "symbol=IBM;;symbol=AAPL", ";"])
def test_a_semicolon_too_many_is_refused(filled, select):
    """An empty part of a selection is no selection of all."""
    assert "has an empty part; ';' joins whole selections" in filled(*BATCH, "--select", select, exit_code=2)
