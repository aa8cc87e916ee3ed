"""Runs steps one at a time as an engine does: a StepAttempt for each try, and payloads of JSON between the steps."""

from __future__ import annotations

import json

from flowctx import LedgerUnavailable, StepStatus
from flowctx.core.durability.run_ledgers import run_ledger
from flowctx.core.durability.run_plan import begin_run, plan_run
from flowctx.core.durability.step_attempt import StepAttempt, StepInput
from flowctx.core.execution.envelope import MAX_INLINE_BYTES, Envelope, load_output
from flowctx.core.execution.upstream import merge_upstream
from flowctx.core.workflow.run_request import RunRequest
from flowctx.ledger.memory import MemoryLedger
from flowctx.testing import make_context


class StepByStep:
    """One run of a workflow whose steps are attempted when a test says so; ``request`` is what its caller asks for."""

    def __init__(
        self,
        flow,
        ledger=None,
        *,
        run_id="e1",
        params=None,
        capture_id=None,
        store=None,
        limit=MAX_INLINE_BYTES,
        strict=True,
        **request,
    ):
        self.flow, self.ledger, self.store, self.limit, self.strict = flow, ledger, store, limit, strict
        self.request, self.new_params = RunRequest(**request), params or ()
        self.ctx = make_context(
            workflow=flow.name, run_id=run_id, params=flow.params_with(params), capture_id=capture_id
        )
        self.payloads = {}

    def open(self):
        """Begin to record the run, or find it begun."""
        ledger = run_ledger(self.ledger, strict=self.strict)
        plan = plan_run(ledger, self.flow, self.ctx, request=self.request, new_params=self.new_params)
        return begin_run(ledger, plan)

    def attempt(self, name, number=1, **how):
        """Make one attempt at a step, as an engine does, and hand on what it hands on."""
        return self._handed_on(self._attempt(name, number, **how).attempt())

    def _attempt(self, name, number, *, skipped=None, **how):
        step = self.flow[name]

        def receive(ctx):
            before = [self.envelope(after) for after in step.after]
            seen, inherited = merge_upstream(ctx, before, self._fetch, store=self.store)
            return StepInput(ctx=seen, inherited=inherited, after=step.after, skipped=skipped)

        return StepAttempt(
            step=step,
            open=self.open,
            receive=receive,
            number=number,
            store=self.store,
            limit=self.limit,
            skips_captured=self.request.on_captured == "skip",
            **how,
        )

    def _handed_on(self, made):
        self.payloads[made.envelope.step] = json.dumps(made.envelope.to_payload())
        return made

    def all_steps(self):
        """Attempt the steps in order until one is not ok; return the outputs of those that are."""
        outputs = {}
        for name in self.flow.steps:
            made = self.attempt(name)
            if made.outcome.result.status is not StepStatus.OK:
                break
            outputs[name] = made.outcome.result.output
        return outputs

    def record(self, name):
        """Return what the ledger remembers of a step."""
        found = self.ledger.get_run(self.ctx.run_id)
        return next((record for record in self.ledger.steps(found.key) if record.step == name), None)

    def envelope(self, name):
        """Return what a step handed on."""
        return Envelope.from_payload(json.loads(self.payloads[name]))

    def _fetch(self, name, _):
        return load_output(self.envelope(name), self.store)


class AwayLedger(MemoryLedger):
    """A ledger that does not answer some calls, until it is reached again."""

    def __init__(self, *calls):
        super().__init__()
        #: The calls that are not answered: ``begin``, ``record``, ``forget``, ``runs_of``, ``steps``, ``versions``.
        self.away = set(calls)

    def begin(self, run, **how):
        self._answer("begin")
        return super().begin(run, **how)

    def record(self, run, steps):
        self._answer("record")
        super().record(run, steps)

    def forget(self, run, steps):
        self._answer("forget")
        super().forget(run, steps)

    def runs_of(self, run_keys):
        self._answer("runs_of")
        return super().runs_of(run_keys)

    def steps(self, key, names=None):
        self._answer("steps")
        return super().steps(key, names)

    def recorded_steps(self, run_keys, **how):
        self._answer("steps")
        return super().recorded_steps(run_keys, **how)

    def versions(self, *what, **how):
        self._answer("versions")
        return super().versions(*what, **how)

    def _answer(self, call):
        if call in self.away:
            raise LedgerUnavailable("away")
