"""Old names: they work, and warn with the new one."""

from typing import Any

import pytest

import flowctx
from flowctx.ledger import open_ledger
from flowctx.testing import EngineContract


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Follower", "LaunchListener"),
        ("Tally", "LaunchProgress"),
        ("adopt", "import_engine_runs"),
        ("page", "render_html"),
    ],
)
def test_a_module_keeps_its_old_names(old: str, new: str) -> None:
    """A renamed object is found by its old name, with a warning that says the new one."""
    import flowctx.backfill as module

    with pytest.warns(DeprecationWarning, match=f"backfill.{old} is called flowctx.backfill.{new} now"):
        found = getattr(module, old)
    assert found is getattr(module, new)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The look-up of old names does not swallow typing errors."""
    import flowctx.backfill as module

    assert not hasattr(module, "Followr")


def test_a_ledger_keeps_its_old_calls() -> None:
    """Calls of a ledger work by their old names, with a warning that says the new one."""
    ledger: Any = open_ledger("memory://")
    with pytest.warns(DeprecationWarning, match=r"Ledger.runs\(\) is called Ledger.list_runs\(\) now"):
        assert ledger.runs() == []


def test_replay_keeps_its_old_argument() -> None:
    """``replay(caller=)`` still calls the step through what it is passed, and warns."""
    flow = flowctx.Workflow("old")
    calls: list[str] = []

    @flow.step()
    def one(ctx: flowctx.WorkflowContext) -> dict[str, int]:
        return {"n": 1}

    def through(function: Any, *args: Any) -> Any:
        calls.append("through")
        return function(*args)

    ledger = open_ledger("memory://")
    done = flowctx.run(flow, ledger=ledger)
    with pytest.warns(DeprecationWarning, match=r"replay\(invoke=\)"):
        flowctx.replay(done.run_id, "one", flow, ledger=ledger, caller=through)
    assert calls == ["through"]


def test_an_engine_contract_of_old_still_runs() -> None:
    """A contract that defines ``run_there`` is asked by it, with a warning."""

    class Mine(EngineContract):
        def run_there(self, workflow: flowctx.Workflow, **kwargs: Any) -> flowctx.RunResult:
            return flowctx.run(workflow, **kwargs)

    flow = flowctx.Workflow("old")
    flow.step(name="one")(lambda ctx: {"n": 1})
    with pytest.warns(DeprecationWarning, match="run_on_engine"):
        assert Mine().alike(flow).status == "ok"
