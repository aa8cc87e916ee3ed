"""What a run is recorded in: a ledger, one whose failures are only logged, or none."""

import logging
from dataclasses import replace

import pytest

from flowctx import LedgerUnavailable, StepStatus, Superseded, UnknownRun
from flowctx.core.durability.continuation import EngineRerun
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.durability.run_ledgers import NO_LEDGER, LenientLedger, ledger_behind, run_ledger
from flowctx.core.durability.run_plan import begin_run, plan_run
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context
from flowctx.testing.clock import NOON
from step_by_step import AwayLedger

RUN = RunRecord(workflow="flow", context=make_context(workflow="flow"), steps=("a", "b"))


def step(name):
    return StepRecord(step=name, status=StepStatus.OK, started_at=NOON)


def test_the_setting_says_what_a_run_is_recorded_in():
    """Strict is the ledger itself, lenient one around it, and without a ledger there is the one that forgets."""
    ledger = MemoryLedger()
    assert run_ledger(ledger, strict=True) is ledger
    assert isinstance(run_ledger(ledger, strict=False), LenientLedger)
    assert run_ledger(None, strict=True) is run_ledger(None, strict=False) is NO_LEDGER
    assert {ledger_behind(run_ledger(ledger, strict=strict)) for strict in (True, False)} == {ledger}
    assert ledger_behind(NO_LEDGER) is None


def test_a_run_that_is_not_recorded_has_its_ledger_only_for_what_it_continues():
    """Its artifacts go where those without a ledger do; those of its earlier attempt are where they were."""
    ledger = AwayLedger()
    ledger.away = {"begin"}
    new, again = LenientLedger(ledger), LenientLedger(ledger)
    new.begin(RUN)
    again.begin(RUN, resumes=RUN)
    assert (ledger_behind(new), ledger_behind(again)) == (None, ledger)


def test_no_ledger_remembers_nothing():
    """A run goes on in it as in any other; only to continue one needs a ledger, and the message says how."""
    assert NO_LEDGER.begin(RUN) is RUN
    NO_LEDGER.record(RUN, [step("a")])
    NO_LEDGER.finish(RUN, RunStatus.OK)
    assert (NO_LEDGER.steps(RUN.key), NO_LEDGER.statuses(RUN.key), NO_LEDGER.list_runs()) == ([], {}, [])
    with pytest.raises(UnknownRun, match="how far run 'run-1' came; set FLOWCTX_LEDGER_URL here too"):
        NO_LEDGER.get_run("run-1")


def test_a_lenient_ledger_records(caplog):
    """As long as the ledger answers, what is recorded in it is there, and nothing is logged."""
    ledger = MemoryLedger()
    lenient = LenientLedger(ledger)
    run = lenient.begin(RUN)
    lenient.record(run, [step("a")])
    lenient.finish(run, RunStatus.OK)
    assert (lenient.get_run("run-1").status, lenient.statuses(RUN.key)) == (RunStatus.OK, {"a": StepStatus.OK})
    assert [found.run_id for found in lenient.list_runs(workflow="flow")] == ["run-1"]
    assert caplog.text == ""


def test_what_was_not_recorded_is_recorded_with_the_next_step(caplog):
    """A ledger that is away for a step has it when it is back, and the log says which one was late."""
    caplog.set_level(logging.WARNING, "flowctx")
    ledger = AwayLedger()
    lenient = LenientLedger(ledger)
    run = lenient.begin(RUN)
    ledger.away = {"record"}
    lenient.record(run, [step("a")])
    assert "run run-1: step 'a' is not recorded (away); the run goes on" in caplog.text
    ledger.away = set()
    lenient.record(run, [step("b")])
    assert set(ledger.statuses(RUN.key)) == {"a", "b"}


def test_what_was_not_forgotten_is_forgotten_before_the_next_step_is_recorded(caplog):
    """What is made of what a step was does not count with what it is now; nor does what is yet to be recorded of it."""
    caplog.set_level(logging.WARNING, "flowctx")
    ledger = AwayLedger()
    lenient = LenientLedger(ledger)
    run = lenient.begin(replace(RUN, reads={"b": {"price": ()}}))
    lenient.record(run, [step("a")])
    ledger.away = {"record", "forget"}
    lenient.record(run, [step("b")])
    lenient.forget(run, ["a", "b"])
    assert "run run-1: that step 'a' and step 'b' does not count is not recorded (away); the run goes on" in caplog.text
    ledger.away = set()
    lenient.record(replace(run, reads={}), [step("a")])
    assert set(ledger.statuses(RUN.key)) == {"a"}
    assert ledger.get_run("run-1").reads == {}


def test_the_end_of_a_run_brings_what_was_late():
    """A step that the ledger missed is recorded before the run ends."""
    ledger = AwayLedger()
    lenient = LenientLedger(ledger)
    run = lenient.begin(RUN)
    ledger.away = {"record"}
    lenient.record(run, [step("a")])
    ledger.away = set()
    lenient.finish(run, RunStatus.OK)
    assert (set(ledger.statuses(RUN.key)), ledger.get_run("run-1").status) == ({"a"}, RunStatus.OK)


def test_a_run_that_cannot_begin_is_not_recorded_at_all():
    """After a beginning that failed, nothing of the run is written, even if the ledger is back."""
    ledger = AwayLedger("begin")
    lenient = LenientLedger(ledger)
    assert lenient.begin(RUN) is RUN
    ledger.away = set()
    lenient.record(RUN, [step("a")])
    assert ledger.list_runs() == []


def test_inputs_of_a_run_that_is_not_recorded_are_read_from_the_ledger():
    """Without it there is no input: what is away is said to be so, and is read when it is back."""
    ledger = AwayLedger("begin", "versions")
    lenient = LenientLedger(ledger)
    lenient.begin(RUN)
    with pytest.raises(LedgerUnavailable, match="away"):
        lenient.versions("prices", "load", [None])
    ledger.away = set()
    assert lenient.versions("prices", "load", [None]) == []


def test_what_cannot_be_read_is_taken_for_nothing(caplog):
    """A run goes on without what is recorded of it, and the log says so."""
    caplog.set_level(logging.WARNING, "flowctx")
    ledger = AwayLedger("steps")
    lenient = LenientLedger(ledger)
    lenient.begin(RUN)
    assert lenient.steps(RUN.key) == []
    assert "what is recorded of run run-1 cannot be read (away); the run goes on" in caplog.text


@pytest.mark.parametrize("call", ["runs_of", "steps"])
def test_a_run_that_could_not_be_read_is_not_written_over(call, caplog):
    """One that is cleared with other parameters and another batch stays as it was, and the log says so."""
    ledger, before = AwayLedger(), replace(RUN, steps=("a",), context=replace(RUN.context, params={"n": 1}))
    ledger.finish(ledger.begin(before), RunStatus.OK)
    ledger.away = {call}
    again = make_context(workflow="flow", run_id="run-1", batch_id="b2", capture_id="c2", params={"n": 2})
    how = EngineRerun(run_id="run-1", steps=lambda: ["a"], outdated=lambda known: True)
    lenient = LenientLedger(ledger)
    recorder = begin_run(lenient, plan_run(lenient, "flow", again, rerun=how))
    found = ledger.get_run("run-1")
    assert (recorder.context.params["n"], found.context, found.status) == (2, before.context, RunStatus.OK)
    assert "run run-1 is not recorded: away" in caplog.text


def test_who_has_lost_the_run_stops_here_too():
    """Lenient is no licence to write to a run that goes on elsewhere."""
    ledger = MemoryLedger()
    lenient = LenientLedger(ledger)
    run = lenient.begin(RUN)
    ledger.begin(run, resumes=run)
    with pytest.raises(Superseded):
        lenient.record(run, [step("a")])
    with pytest.raises(Superseded):
        lenient.finish(run, RunStatus.OK)


def test_a_run_that_is_to_continue_another_needs_the_ledger():
    """What cannot be read cannot be continued, whatever the setting."""

    class Away(MemoryLedger):
        def get_run(self, *args, **how):
            raise LedgerUnavailable("away")

    with pytest.raises(UnknownRun, match="cannot say how far run 'run-1' came: away"):
        LenientLedger(Away()).get_run("run-1")
    with pytest.raises(UnknownRun):
        LenientLedger(MemoryLedger()).get_run("nope")


def test_a_lenient_run_does_without_a_list_that_cannot_be_read():
    """A ledger that goes away before it lists other runs does not fail a lenient run; a strict one hears of it."""

    class Away(MemoryLedger):
        def list_runs(self, **how):
            raise LedgerUnavailable("away")

    assert run_ledger(Away(), strict=False).list_runs(workflow="flow") == []
    with pytest.raises(LedgerUnavailable):
        run_ledger(Away(), strict=True).list_runs(workflow="flow")
