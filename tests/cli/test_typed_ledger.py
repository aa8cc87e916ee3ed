"""What a command advises works in the ledger that was typed."""

import pytest

RUN = ("run", "cli_flows:prices", "--partition", "IBM", "--run-id", "r1")


@pytest.fixture
def elsewhere(shell):
    """Return options for another ledger than the one that is set, and what says so."""
    url = f"sqlite:///{shell.folder / 'elsewhere.db'}"
    return ("--ledger", url), f"add to these commands, as here: --ledger {url}\n"


def test_the_ledger_that_was_typed_is_said_with_commands(shell, elsewhere):
    """Where a failed run says how to go on, what was typed is to be typed again; what is set need not."""
    option, reminder = elsewhere
    assert shell(*RUN, *option, exit_code=1).endswith(reminder)
    assert shell("show", "r1", *option).endswith(reminder)
    assert reminder not in shell("runs", *option)
    assert reminder not in shell(*RUN, exit_code=1)
    assert shell("show", "r9", *option, exit_code=2).endswith(f"see: flowctx runs (with --ledger {option[1]})\n")
    assert shell("captures", "nobody", *option, exit_code=2).endswith(f"runs (with --ledger {option[1]})\n")
    taken = shell(*RUN, *option, exit_code=2)
    assert taken.endswith(f"(flowctx resume r1), or pass another run_id= (with --ledger {option[1]})\n")


@pytest.mark.parametrize("option", ["--retry-failed", "--retry-skipped", "--extend", "--from-step=fetch"])
def test_a_batch_that_is_not_there_does_not_go_on(shell, option):
    """A slip in the name, or another ledger, does not begin a batch of all partitions."""
    command = ("backfill", "cli_flows:prices", "--batch", "slip", option)
    assert f"no batch 'slip'; leave out {option.partition('=')[0]}" in shell(*command, exit_code=2)
    assert shell("batches", "--json") == []
    assert "has no batch 'slip'" in shell(*command, "--until", "2026-01-09", exit_code=2)
    assert "would run   1" in shell(*command, "--select", "symbol=IBM", "--dry-run")
    shell("run", "cli_flows:prices", "--partition", "symbol=IBM", "--batch", "slip", "--run-id", "by-hand", exit_code=1)
    assert "no batch 'slop'; did you mean 'slip'? leave" in shell(*command[:3], "slop", option, exit_code=2)
    refused = shell(*command, exit_code=2)
    assert f"nobody has selected its partitions, so leave out {option.partition('=')[0]} to run all" in refused
    assert "would run" in shell(*command[:-1], "--dry-run")
