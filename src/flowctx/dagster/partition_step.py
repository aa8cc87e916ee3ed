"""One step of a workflow for one partition of a run, in Dagster's words."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import dagster as dg

from flowctx.core.data.encoding import to_json
from flowctx.core.data.plain import freeze
from flowctx.core.durability.endings import end_run
from flowctx.core.durability.recorded import recorded_envelope
from flowctx.core.durability.recorder import Recorder
from flowctx.core.durability.records import RunStatus
from flowctx.core.durability.run_ledgers import LEDGER_MARK, SKIP_MARK
from flowctx.core.durability.step_attempt import AttemptResult, StepAttempt, StepInput
from flowctx.core.errors import ArtifactError, LedgerError
from flowctx.core.execution.envelope import Envelope, load_output
from flowctx.core.execution.execute import Outcome
from flowctx.core.execution.upstream import merge_upstream
from flowctx.core.masking import mask_data
from flowctx.core.workflow.cascade import RunIf
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepResult, StepStatus
from flowctx.core.workflow.run_request import TAG_PREFIX, RunRequest
from flowctx.dagster._compat import NO_ASSET_EVENTS
from flowctx.dagster.checks import QUALITY_CHECK, CheckEvent, of_partition, quality_check
from flowctx.dagster.frames import number_metadata, table_metadata
from flowctx.dagster.logs import logged_in
from flowctx.dagster.ordering import unordered
from flowctx.dagster.output_store import StoredOutput
from flowctx.dagster.outputs import Written
from flowctx.dagster.params import params_key
from flowctx.dagster.partitions import to_dagster_key
from flowctx.dagster.recorded_outputs import OutputPlace
from flowctx.dagster.recording import record_run, selected_steps
from flowctx.dagster.run_facts import RunFacts
from flowctx.dagster.step_body import StepBody
from flowctx.dagster.tags import partition_tags, root_of, tags_of

#: Prefix of our own entries in metadata, beside the numbers of outputs.
_OURS = TAG_PREFIX

Event: TypeAlias = dg.Output[Any] | CheckEvent | dg.AssetMaterialization


class PartitionStep:
    """One step for one partition."""

    def __init__(
        self,
        body: StepBody,
        op: dg.OpExecutionContext,
        key: str | None,
        ctx: WorkflowContext,
        request: RunRequest,
    ) -> None:
        self.body, self.op, self.request = body, op, request
        #: The run as Dagster tells it, and as it goes on where it continues another.
        self.base = self.ctx = ctx
        scheme = body.workflow.partitions
        if key is None and scheme is not None and ctx.partition is not None:  # the caller's word, as for a check alone
            key = to_dagster_key(ctx.partition, scheme)
        self.key = key
        self.io_manager = body.io_manager(op)
        self.storage = self.io_manager.storage
        self.outputs, self.store = self.storage.outputs, self.storage.artifacts
        self.number = op.retry_number + 1
        self.recorder: Recorder | None = None

    def events(self) -> Iterator[Event]:
        """Run it once and say in Dagster's words how it ended."""
        made = self.once()
        outcome, result = made.outcome, made.outcome.result
        retry = self.retry(outcome)
        if retry is not None:
            raise retry from self.failure(outcome)
        yield from self.checks(result)
        if result.status is StepStatus.FAILED:
            raise self.failure(outcome)
        if result.status is not StepStatus.OK:
            self.tell_no_output(result)
            if self.leads_on(result):
                metadata = no_asset_events(self.body) | skip_mark(result.status is StepStatus.SKIPPED)
                yield dg.Output(Written(count=0), self.body.output_name, metadata=metadata)
            return
        yield dg.Output(self.stored_output(made.envelope), self.body.output_name, metadata=self.metadata(result))

    def once(self) -> AttemptResult:
        """Run the step; a partition whose predecessor was skipped is skipped."""
        attempt = StepAttempt(
            step=self.body.step,
            open=self.opened,
            receive=self.received,
            retried=lambda outcome: self.retry(outcome) is not None,
            number=self.number,
            store=self.store,
            keep=self.keep,
            skips_captured=self.request.on_captured == "skip",
            unordered=lambda *read: unordered(self.body.workflow, self.op, self.ctx, *read),
        )
        with logged_in(self.op.log):
            return attempt.attempt()

    def to_the_end(self) -> AttemptResult:
        """Run it until it is not to be tried again: in a range, a retry of the op would repeat what is done."""
        while True:
            made = self.once()
            retry = self.retry(made.outcome)
            if retry is None:
                return made
            time.sleep(retry.seconds_to_wait or 0)
            self.number += 1

    def opened(self) -> Recorder:
        """Begin to record the run, or find it begun."""
        recorder = record_run(
            self.body,
            self.op,
            self.base,
            self.request,
            ledger=self.storage.ledger,
            params_key=params_key(self.body.workflow),
        )
        self.recorder, self.ctx = recorder, recorder.context
        if self.ctx.batch_id != self.base.batch_id:
            name_run(self.op, self.ctx)
        return recorder

    def envelope_of(self, name: str) -> Envelope:
        """Return what a step before handed on: in this capture, or (in a run of a part only) in the current one."""
        found = self.captured(name)
        if found is not None:
            return found
        capture = self.storage.current(self.place(name))
        envelope = capture.envelope
        # Steps further back are those that this one saw, whatever has been captured since.
        return envelope._replace(
            prior={name: at or capture.capture_id for name, at in envelope.prior.items()}
            | {envelope.step: capture.capture_id},
        )

    def captured(self, name: str) -> Envelope | None:
        """Return what a step handed on in this capture, if it did.

        The file is that of whoever made the asset last. If that was another run, what the ledger has of this one goes
        first: what follows here is made of that.
        """
        try:
            stored = self.outputs.read(self.body.asset_path(name), self.key, str(self.ctx.capture_id))
        except ArtifactError:
            return self.recorded(name)
        if stored.run_id == self.ctx.run_id:
            return stored.envelope
        return self.recorded(name, of_others=False) or self.storage.rewritten(self.place(name), stored).envelope

    def received(self, ctx: WorkflowContext) -> StepInput:
        """Return the context that the step sees, and what it hands on."""
        envelopes = [self.envelope_of(name) for name in self.body.step.after]
        cascades = self.body.step.run_if is RunIf.OK
        skipped = next((e for e in envelopes if cascades and e.status is StepStatus.SKIPPED), None)
        ctx, inherited = merge_upstream(ctx, envelopes, self.fetch, store=self.store)
        return StepInput(
            ctx=ctx,
            inherited=inherited,
            after=self.body.step.after,
            skipped=(skipped.error or f"step {skipped.step!r} was skipped") if skipped else None,
        )

    def fetch(self, name: str, at: str | None) -> Mapping[str, Any]:
        """Return the output of a step further back."""
        found = self.captured(name) if at in (None, self.ctx.capture_id) else None
        if found is None:
            found = self.storage.capture(self.place(name), str(at or self.ctx.capture_id)).envelope
        return load_output(found, self.store)

    def place(self, name: str) -> OutputPlace:
        """Return where the output of a step is looked for."""
        flow = self.body.workflow
        return OutputPlace(
            asset_path=self.body.asset_path(name),
            key=self.key,
            scheme=flow.partitions,
            metadata_step=(flow.name, name),
        )

    def recorded(self, name: str, *, of_others: bool = True) -> Envelope | None:
        """Return what the ledger has of a step of this run, or of others of its capture, as after a resume here."""
        if self.recorder is None:
            return None
        return recorded_envelope(self.recorder.ledger, self.recorder.run, name, of_others=of_others)

    def stored_output(self, envelope: Envelope) -> StoredOutput:
        """Return what is stored of the step's output."""
        return self.place(self.body.step.name).stored(self.ctx, envelope, self.store)

    def keep(self, made: AttemptResult) -> None:
        """Store what the step made, or that there is no output."""
        output = self.stored_output(made.envelope)
        if made.outcome.result.status is StepStatus.OK:
            self.outputs.write(output)
            self.io_manager.stored(self.op, output)
        else:
            self.keep_without_output(output)

    def keep_without_output(self, stored: StoredOutput) -> None:
        """Store that there is no output; of a skip also that of the steps that Dagster does not start for it."""
        self.outputs.write(stored)
        if stored.envelope.status is not StepStatus.SKIPPED:
            return
        body = self.body
        skipped, selected = {body.step.name}, selected_steps(body, self.op)
        reason = stored.envelope.error or f"step {body.step.name!r} was skipped"
        for name, step in body.workflow.steps.items():
            if name in selected and step.run_if is RunIf.OK and not skipped.isdisjoint(step.after):
                skipped.add(name)
                envelope = Envelope(step=name, status=StepStatus.SKIPPED, error=reason)
                self.outputs.write(replace(stored, asset_path=body.asset_path(name), envelope=envelope))

    def retry(self, outcome: Outcome) -> dg.RetryRequested | None:
        """Return what asks Dagster to try the step again, if its policy or the step itself says so."""
        result, asked, policy = outcome.result, outcome.exception, self.body.step.retry
        if result.status is not StepStatus.FAILED:
            return None
        if isinstance(asked, dg.RetryRequested):
            most, seconds = asked.max_retries, asked.seconds_to_wait
        elif not result.retryable or (isinstance(asked, dg.Failure) and not asked.allow_retries):
            return None
        else:
            most, seconds = policy.retries, policy.wait(self.number).total_seconds()
        return dg.RetryRequested(most, seconds) if self.number <= most else None

    def failure(self, outcome: Outcome) -> dg.Failure:
        """Return the failure in Dagster's words: the step's own message, and the context in its metadata."""
        result, raised = outcome.result, outcome.exception
        text, own = result.error, {}
        if isinstance(raised, dg.Failure):  # the step's own words
            text, own = str(text).removeprefix(f"{type(raised).__name__}: "), {**raised.metadata}
        metadata = (
            own
            | self.metadata(result)
            | {
                f"{_OURS}category": str(result.category),
                f"{_OURS}attempt": self.number,
                f"{_OURS}context": dg.MetadataValue.json(mask_data(self.ctx.to_dict())),
            }
        )
        if result.quality is not None:
            metadata[f"{_OURS}quality"] = dg.MetadataValue.json(to_json(freeze(result.quality.to_dict())))
        failure = dg.Failure(text, metadata=metadata, allow_retries=False)
        failure.__cause__ = raised
        return failure

    def metadata(self, result: StepResult) -> dict[str, Any]:
        """Return who the run is, and every number of the output: Dagster plots numbers over partitions and time."""
        found = number_metadata(result.output) | table_metadata(result.output)
        if result.quality is not None:
            found |= {f"{QUALITY_CHECK}/{k}": v for k, v in {**result.quality.counts, **result.quality.rates}.items()}
        return found | self.identity()

    def identity(self) -> dict[str, Any]:
        """Return who the run is, as metadata."""
        ctx = self.ctx
        facts = {
            "as_of_date": ctx.as_of_date.isoformat() if ctx.as_of_date else None,
            "partition": str(ctx.partition) if ctx.partition else None,
            **{name: getattr(ctx, name) for name in ("batch_id", "capture_id", "trace_id")},
            LEDGER_MARK: True if self.storage.ledger is not None else None,
        }
        return {f"{_OURS}{name}": value for name, value in facts.items() if value is not None}

    def checks(self, result: StepResult) -> Iterator[CheckEvent]:
        """Yield the quality metrics as an asset check: an error where the step stopped at them, else a warning."""
        if not (self.op.selected_asset_check_keys and self.body.checked and result.quality is not None):
            return
        check = quality_check(self.body.asset_key, result.quality, result.status, result.error, self.identity())
        yield check if self.op.has_partition_key else of_partition(check, self.key)

    def stored_checks(self, facts: RunFacts) -> Iterator[CheckEvent]:
        """Yield the check of what is stored of the partition: that of the run's batch, else the current one."""
        envelope = self.storage.newest(self.place(self.body.step.name), facts).envelope
        result = StepResult(status=envelope.status, error=envelope.error, quality=envelope.quality)
        if result.quality is None:
            self.op.log.warning(f"step {self.body.step.name} {result.status} without quality metrics ({self.key})")
        yield from self.checks(result)

    def leads_on(self, result: StepResult) -> bool:
        """Return whether steps after this one may run although it has no output."""
        if result.status is StepStatus.TOLERATED:
            return True
        steps = self.body.workflow.steps.values()
        rules = [step.run_if for step in steps if self.body.step.name in self.body.workflow.ancestors(step.name)]
        return any(rule is not RunIf.OK for rule in rules)

    def tell_no_output(self, result: StepResult) -> dict[str, Any]:
        """Say that there is no output, and why: Dagster has no event of its own for that."""
        where = f" ({self.ctx.partition})" if self.ctx.partition else ""
        tell = self.op.log.info if result.status is StepStatus.SKIPPED else self.op.log.error
        tell(f"step {self.body.step.name} {result.status}{where}: {result.error}")
        metadata = {f"{_OURS}status": str(result.status), f"{_OURS}reason": result.error, **self.identity()}
        if self.body.asset_key is not None:
            self.op.log_event(
                dg.AssetObservation(
                    self.body.asset_key, description=result.error, partition=self.key, metadata=metadata
                )
            )
        return metadata

    def end(self, why: str) -> None:
        """Say that the run of this partition goes no further: Dagster will not start the steps after this one."""
        if self.recorder is None or not self.recorder.recording:
            return
        run = self.recorder.run
        try:
            found = self.recorder.ledger.get_run(run.run_id, workflow=run.workflow, partition=run.context.partition)
            if found.attempt == run.attempt:  # else it goes on elsewhere
                end_run(self.recorder.ledger, found, RunStatus.PARTIAL, why)
        except LedgerError as exc:  # why the step failed is to be told
            self.op.log.warning(
                f"the ledger does not hear that run {run.run_id} ({run.context.partition}) is over: {exc}"
            )

    def done(self, metadata: Mapping[str, Any]) -> Iterator[dg.AssetMaterialization]:
        """Record a partition of a range of which others failed, so that Dagster asks for those only."""
        if self.body.asset_key is not None:
            yield dg.AssetMaterialization(self.body.asset_key, partition=self.key, metadata=metadata)

    def about_partition(self, metadata: Mapping[str, Any]) -> None:
        """Add metadata to the event that Dagster will make of this partition of a range."""
        if self.body.asset_key is not None:
            self.op.get_step_execution_context().add_asset_metadata(
                metadata, asset_key=self.body.asset_key, partition_key=self.key
            )


def name_run(op: dg.OpExecutionContext, ctx: WorkflowContext) -> None:
    """Tag the run with its batch and a run of ops with its partition, if Dagster has lost the tags or never had them.

    So a batch's runs can be found.
    """
    named = {} if ctx.batch_id is None else {f"{TAG_PREFIX}batch_id": ctx.batch_id}
    if not op.has_assets_def:
        named |= partition_tags(tags_of(op.run, root_of(op.run, op.instance)))
    if named.items() <= op.run.tags.items():
        return
    run = op.instance.get_run_by_id(op.run.run_id)
    if run is not None and not named.items() <= run.tags.items():
        op.instance.add_run_tags(run.run_id, named)


def no_asset_events(body: StepBody) -> dict[str, Any]:
    """Return the metadata of an output of which Dagster is to call nothing materialised."""
    return {} if body.asset_key is None else {NO_ASSET_EVENTS: True}


def skip_mark(skipped: bool) -> dict[str, Any]:
    """Return the metadata of an output that stands for a skip, if it does: steps after it may run all the same."""
    return {f"{_OURS}{SKIP_MARK}": True} if skipped else {}
