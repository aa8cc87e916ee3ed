"""When a run is over, and whether what it leaves is whole."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import StepStatus, Workflow
from flowctx.core.durability import completeness
from flowctx.core.durability.completeness import (
    end_status,
    leads_on,
    status_when_over,
    steps_of_capture,
    steps_of_other_runs,
)
from flowctx.core.durability.records import RunRecord, RunStatus
from flowctx.core.durability.resumption import run_status
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing.clock import NOON, FakeClock
from flowctx.testing.records import MINUTE, a_run, a_step
from step_by_step import StepByStep

ORDER = {"a": (), "b": ("a",), "c": ("b",), "d": ("a",)}
OK, FAILED, SKIPPED = StepStatus.OK, StepStatus.FAILED, StepStatus.SKIPPED
STATUSES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([OK, FAILED, SKIPPED]))


@pytest.mark.parametrize(
    ("selected", "statuses", "status"),
    [
        ("a", {}, RunStatus.RUNNING),
        ("a", {"a": OK}, RunStatus.PARTIAL),
        ("a", {"a": FAILED}, RunStatus.FAILED),
        ("a", {"a": SKIPPED}, RunStatus.SKIPPED),
        ("cd", {"a": OK, "b": OK, "d": OK}, RunStatus.RUNNING),
        ("cd", {"a": OK, "b": OK, "c": OK, "d": OK}, RunStatus.OK),
        ("cd", {"c": OK, "d": OK}, RunStatus.PARTIAL),
        ("b", {"a": OK, "b": OK, "c": FAILED, "d": OK}, RunStatus.FAILED),
        ("", {"a": OK, "b": OK, "c": OK}, RunStatus.RUNNING),
        ("", {"a": OK, "b": OK, "c": OK, "d": OK}, RunStatus.OK),
    ],
)
def test_a_part_ends_as_partial(selected, statuses, status):
    """A run of some steps is over with them, and is whole only if other runs have done all the others."""
    assert end_status(ORDER, selected, statuses) is status


@given(STATUSES)
def test_a_run_of_all_steps_is_never_partial(statuses):
    """Without a selection, a run ends as its steps do."""
    assert end_status(ORDER, "", statuses) is run_status(ORDER, statuses)


@given(STATUSES)
def test_what_the_engine_calls_over_is_over(statuses):
    """Such a run does not go on: it failed if any step did, and is partial if a step that could have run did not."""
    status = status_when_over(ORDER, statuses)
    assert status is not RunStatus.RUNNING
    assert (status is RunStatus.FAILED) == (FAILED in statuses.values())
    if FAILED not in statuses.values():
        assert (status is RunStatus.PARTIAL) == (run_status(ORDER, statuses) is RunStatus.RUNNING)


@pytest.mark.parametrize(
    ("step", "statuses", "leads"),
    [
        ("a", {"a": OK}, True),
        ("a", {"a": OK, "b": OK, "d": OK}, True),
        ("a", dict.fromkeys("abcd", OK), False),
        ("a", {"a": SKIPPED}, False),
        ("a", {}, False),
        ("b", {"b": OK}, True),
        ("b", {"b": OK, "c": FAILED}, False),
        ("d", {"d": OK}, False),
    ],
)
def test_a_step_leads_on_while_others_after_it_are_to_run(step, statuses, leads):
    """Only a step that is ok has others to wait for, however far after it they are."""
    assert leads_on(ORDER, step, statuses) is leads


@pytest.fixture
def flow():
    flow = Workflow("flow")
    flow.step(name="a")(lambda ctx: {"n": 1})
    flow.step(name="b")(lambda ctx: {"n": 2})
    return flow


def test_other_runs_of_the_capture_have_done_steps_too(flow):
    """The steps that another run of the same capture completed count; those of another capture do not."""
    ledger = MemoryLedger()
    StepByStep(flow, ledger, run_id="e1", capture_id="one").attempt("a")
    StepByStep(flow, ledger, run_id="e2", capture_id="other").attempt("a")
    own = StepByStep(flow, ledger, run_id="e3", capture_id="one")
    run = RunRecord(workflow="flow", context=own.ctx)
    assert [record.step for record in steps_of_other_runs(ledger, run, ["a", "b"])] == ["a"]
    assert steps_of_other_runs(ledger, run, ["b"]) == []


def test_of_many_other_runs_the_latest_is_found_some_at_a_time(monkeypatch):
    """Their outputs are not in memory all at once, and that of the one that counts is there in the end."""
    asked = []

    class Asked(MemoryLedger):
        def recorded_steps(self, run_keys, **how):
            asked.append(len(run_keys))
            return super().recorded_steps(run_keys, **how)

    monkeypatch.setattr(completeness, "_AT_A_TIME", 2)
    ledger, began = Asked(), [5, 2, 9, 4, 1]
    for number in began:
        part = ledger.begin(replace(a_run(f"r{number}", batch_id="b"), selected=("a",)))
        ledger.record(part, [a_step("a", output={"n": number}, started_at=NOON + number * MINUTE)])
        ledger.finish(part, RunStatus.PARTIAL)
    run = ledger.begin(replace(a_run("own", batch_id="b"), selected=("b",)))
    for found in (steps_of_capture(ledger, run, ORDER, own=["b"]).others, steps_of_other_runs(ledger, run, ["a"])):
        assert [record.output["n"] for record in found] == [9]
    assert (max(asked), sum(asked)) == (2, len(began) * 2 + 1)


CHAIN = {"a": (), "b": ("a",), "c": ("b",), "d": ()}


class Parts:
    """Runs of parts of one capture, each in a minute of its own by the ledger's clock."""

    def __init__(self):
        self.clock = FakeClock()
        self.ledger = MemoryLedger(self.clock)

    def begin(self, steps):
        """Begin a run of some steps; all of them are a whole run."""
        run = replace(a_run(steps, batch_id="b"), steps=tuple(CHAIN), selected=tuple(steps) if steps != "abcd" else ())
        return self.ledger.begin(run)

    def record(self, run, **fields):
        """Record the steps of a run, of which each takes a second, as a machine says whose clock may be off."""
        at = fields.pop("at", self.clock.now())
        done = [
            a_step(step, started_at=at + n * MINUTE / 60, seconds=1.0, **fields) for n, step in enumerate(run.run_id)
        ]
        self.ledger.record(run, [replace(one, after=CHAIN[one.step]) for one in done])

    def run(self, steps, **fields):
        """Begin, record and end a run of some steps, and return what all runs of the capture have done then."""
        self.clock.advance(MINUTE)
        run = self.begin(steps)
        self.record(run, **fields)
        self.clock.advance(MINUTE)
        found = steps_of_capture(self.ledger, run, CHAIN, run.run_id)
        self.ledger.finish(run, RunStatus.PARTIAL)
        return sorted(record.step for record in found.others), dict(found.outdated)


def test_what_parts_do_in_order_counts():
    """Steps that runs of their own do one after the other count, as do those that follow none of them."""
    parts = Parts()
    assert parts.run("d") == ([], {})
    assert parts.run("a") == (["d"], {})
    assert parts.run("b") == (["a", "d"], {})
    assert parts.run("c") == (["a", "b", "d"], {})


def test_what_was_done_before_many_that_failed_counts():
    """However often a part of the capture has failed before it is well."""
    parts = Parts()
    parts.run("ab")
    for number in range(1, 61):
        failed = a_run(f"c{number}", batch_id="b", started_at=NOON + number * MINUTE)
        parts.ledger.finish(parts.ledger.begin(replace(failed, selected=("c",))), RunStatus.FAILED)
    assert parts.run("c") == (["a", "b"], {})


def test_what_was_made_of_an_older_step_does_not_count():
    """When a step is made again alone, what follows it does not count, however far; what is beside it does."""
    parts = Parts()
    parts.run("abcd")
    assert parts.run("a") == (["d"], {"b": "a", "c": "b"})


def test_what_follows_counts_when_it_is_made_again():
    """Each step that is made again in its turn counts, until all do."""
    parts = Parts()
    parts.run("abcd")
    parts.run("a")
    assert parts.run("b") == (["a", "d"], {"c": "b"})
    assert parts.run("c") == (["a", "b", "d"], {})


def test_a_step_that_skipped_over_another_does_not_count():
    """A step that was made of one that does not count does not count itself, although it is the last that was made."""
    parts = Parts()
    parts.run("abcd")
    parts.run("a")
    assert parts.run("c") == ([], {"b": "a", "c": "b"})
    assert parts.run("b") == (["a", "d"], {"c": "b"})


@pytest.mark.parametrize("off", [-60 * MINUTE, 0 * MINUTE, 60 * MINUTE])
def test_a_step_made_before_all_that_it_follows_does_not_count(off):
    """A step that ran before the one that it follows was made at all is made of that of another capture."""
    parts = Parts()
    assert parts.run("b") == ([], {})
    assert parts.run("a", at=NOON + off) == ([], {"b": "a"})


def test_a_skip_that_came_of_a_skip_does_not_count_once_that_is_undone():
    """What was skipped because a step before it was is to run when that step has something."""
    parts = Parts()
    parts.run("abcd", status=SKIPPED)
    assert parts.run("a") == (["d"], {"b": "a", "c": "b"})


@pytest.mark.parametrize("off", [-60 * MINUTE, 60 * MINUTE])
def test_the_clocks_of_machines_do_not_matter(off):
    """Whether a run began after another one had ended is told by the ledger's clock."""
    parts = Parts()
    parts.run("ad", at=NOON + off)
    assert parts.run("b", at=NOON) == (["a", "d"], {})
    assert parts.run("c", at=NOON - 120 * MINUTE) == (["a", "b", "d"], {})
    assert parts.run("a", at=NOON + 3 * 60 * MINUTE) == (["d"], {"b": "a", "c": "b"})


def test_runs_beside_each_other_are_compared_by_their_steps():
    """Of runs that overlap, a step counts that began after the one that it follows had ended."""
    parts = Parts()
    first, late, early = (parts.begin(steps) for steps in ("ad", "b", "bc"))
    parts.record(first)
    assert parts.clock.now() == NOON
    parts.record(early)
    assert steps_of_capture(parts.ledger, early, CHAIN, "bc").outdated == {"b": "a", "c": "b"}
    parts.clock.advance(MINUTE)
    parts.record(late)
    found = steps_of_capture(parts.ledger, late, CHAIN, "b")
    assert ({record.step for record in found.others}, set(found.outdated)) == ({"a", "d"}, {"c"})
