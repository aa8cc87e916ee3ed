"""The IO manager: Dagster's side of where outputs are kept; what is kept where is :mod:`.storage`'s to say."""
# No `from __future__ import annotations`: Dagster 1.13 reads the annotations of resources when they are defined.

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, get_args, get_origin

import dagster as dg
from pydantic import Field, PrivateAttr, ValidationInfo, field_validator

from flowctx.core.data.plain import FrozenDict, thaw
from flowctx.core.errors import ArtifactError, ContextError
from flowctx.core.execution.envelope import MAX_INLINE_BYTES, output_made
from flowctx.core.execution.keeping import keep_tables
from flowctx.core.execution.upstream import Upstream
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.core.workflow.result import StepResult, StepStatus
from flowctx.core.workflow.run_request import read_text
from flowctx.dagster._compat import step_context
from flowctx.dagster.engine_contexts import run_facts
from flowctx.dagster.frames import as_annotated, table_metadata
from flowctx.dagster.output_store import StoredOutput, output_name
from flowctx.dagster.partitions import from_dagster_key, in_order, same_windows, scheme_of
from flowctx.dagster.range_outputs import PartitionOutputs, by_dagster_key, is_by_partition, is_skip
from flowctx.dagster.recorded_outputs import OutputPlace
from flowctx.dagster.storage import RunStorage

#: The resource key of the IO manager.
IO_MANAGER_KEY = "workflow_io_manager"
#: Metadata of an asset: the workflow and the step that it is of, whatever its key is.
STEP_METADATA = "flowctx/step"


@dataclass(frozen=True, kw_only=True)
class Written:
    """Says that so many captures are stored already, as they were made."""

    #: How many.
    count: int

    @property
    def output(self) -> NoReturn:
        """Say what is asked instead, to an IO manager of the user's own.

        Raises:
            AttributeError: Always, so that ``hasattr`` says that there is none.
        """
        raise AttributeError(
            "handle_output() is given no output of a range of partitions, nor of a step without one; override "
            "stored(context, output), which is called for each partition that is stored"
        )


class WorkflowIOManager(dg.ConfigurableIOManager):
    """Keeps outputs as JSON, one file for each capture of each partition; what was captured before stays.

    Readers get the capture of their own batch (or run), else the current one. Assets of your own may use it too: they
    return a dict of plain data, or one for each partition, by :class:`~flowctx.PartitionKey` or, where their backfill
    policy gives a run several, by Dagster's key; and an argument named after an asset gets its output, or
    ``{PartitionKey: output}`` where it depends on several partitions (always, if annotated so, or if the asset has a
    ``partition_mapping`` to others than its own). Definitions with the same windows, such as every day and the sessions
    among them, are of one partition each, unless the asset maps them.

    Args:
        base_path: A folder or any URL that fsspec knows, such as ``s3://bucket/outputs``; by default ``flowctx`` in the
            storage folder of the Dagster instance.
        ledger_url: The ledger in which runs of workflows are recorded, where ``FLOWCTX_LEDGER_URL`` names none.

    Example:
        ::

            defs = dg.Definitions(
                assets=[report], resources={"workflow_io_manager": WorkflowIOManager(base_path="s3://bucket/outputs")}
            )
    """

    base_path: str | None = Field(default=None, description="Folder or fsspec URL under which outputs are kept.")
    ledger_url: str | None = Field(default=None, description="Ledger in which runs are recorded.")
    _base: str | None = PrivateAttr(default=None)

    @field_validator("base_path", "ledger_url")
    @classmethod
    def _not_empty(cls, value: str | None, info: ValidationInfo) -> str | None:
        return read_text(value, str(info.field_name))

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Find the folder, when a run starts."""
        if self.base_path is None and context.instance is not None:
            self._base = f"{context.instance.storage_directory()}/flowctx"

    # --- Dagster's side ------------------------------------------------------------------------------------------

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store what an asset of the user's returned; what a step handed on is stored already, as it was made."""
        if isinstance(obj, Written):
            return
        storage = self.storage
        outputs = storage.outputs
        if isinstance(obj, StoredOutput):
            if type(self).handle_output is not WorkflowIOManager.handle_output and not outputs.holds(obj):
                named = output_name(obj.asset_path, obj.key)
                context.log.warning(
                    f"{named} is stored as its step made it, and what handle_output() of {type(self).__name__} has "
                    "changed is dropped; change it in the step"
                )
            context.add_output_metadata({"path": dg.MetadataValue.path(str(outputs.path(obj)))})
            return
        step = step_context(context)
        written = []
        for capture in _captures_of_values(context, obj, storage):
            written.append((outputs.write(capture), capture.envelope.output))
            if step is not None and capture.envelope.status is StepStatus.OK:
                self.stored(dg.OpExecutionContext(step), capture)
        if len(written) == 1:
            ((path, output),) = written
            tables = table_metadata(output) if isinstance(output, FrozenDict) else {}
            context.add_output_metadata({**tables, "path": dg.MetadataValue.path(path)})

    def stored(self, context: dg.OpExecutionContext, output: StoredOutput) -> None:
        """Do more with an output that was stored just now; here nothing, for classes of your own to override.

        It is called for each partition, also in a run of a range and for assets of your own, and not for what was
        skipped or failed; again when a retry or a re-execution hands the output on: make it idempotent. What it raises
        fails the partition of a step, in the ledger too, after the retries of the step; and the whole run of an asset
        of your own: what comes after it in a range is not stored.

        Args:
            context: The context of the op.
            output: What is stored: ``output.output`` is the dict, ``output.partition`` the key, ``output.asset_path``
                whose it is.

        Example:
            ::

                class Copied(WorkflowIOManager):
                    def stored(self, context, output):
                        publish(output.asset_path, output.partition, output.output)
        """

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the output of an asset as its annotation asks for it, or several by partition."""
        kind = getattr(context.dagster_type, "typing_type", None)
        each = get_args(kind)[-1] if get_args(kind) else kind
        asset_path, keys = _upstream(context)
        step = step_context(context)
        facts = run_facts(dg.OpExecutionContext(step)) if step is not None else None
        storage, of_step = self.storage, _step_of(context)
        scheme = scheme_of(context.asset_partitions_def) if keys is not None else None
        lenient = bool(context.definition_metadata.get("allow_missing_partitions"))
        by_partition = keys is not None and _by_partition(context, step)
        if keys == [] and not (by_partition or lenient):
            raise _nothing(context, step)
        alone = keys is None or (len(keys) == 1 and not by_partition)
        captures: dict[str | None, StoredOutput] = {}
        for key in (None,) if keys is None else keys:
            place = OutputPlace(asset_path=asset_path, key=key, scheme=scheme, metadata_step=of_step)
            try:
                captures[key] = storage.newest(place, facts)
            except ArtifactError:
                if alone or not lenient:
                    raise
        for reason in storage.why_not_whole(of_step or asset_path, captures.values()):
            context.log.warning(f"input {context.name!r}: {reason}")
        if alone:
            return _annotated(next(iter(captures.values())), kind)
        fine = {key: capture for key, capture in captures.items() if capture.envelope.status is StepStatus.OK}
        return {_partition(key, scheme, capture): _annotated(capture, each) for key, capture in fine.items()}

    # --- anybody's side ------------------------------------------------------------------------------------------

    def output(
        self, asset_key: dg.AssetKey | Sequence[str] | str, partition: str | None = None, capture_id: str | None = None
    ) -> dict[str, Any]:
        """Return the output of an asset as it is kept here, outside of a run too.

        Of a step that was made elsewhere since, as in bulk, the ledger has the current one: :func:`flowctx.outputs`.

        Args:
            asset_key: The asset; as text, ``daily_prices/fetch``.
            partition: Dagster's key of the partition.
            capture_id: Which version; the one that was written here last if None.

        Raises:
            ArtifactError: There is no such output.

        Example:
            ::

                WorkflowIOManager(base_path="outputs").output("daily_prices/fetch", "2012-10-26|IBM")
        """
        capture = self.storage.outputs.read(_asset_path(asset_key), partition, capture_id)
        found: dict[str, Any] = thaw(_output_of(capture))
        return found

    def captures(self, asset_key: dg.AssetKey | Sequence[str] | str, partition: str | None = None) -> list[str]:
        """Return the ids of all captures of a partition, sorted."""
        return self.storage.outputs.captures(_asset_path(asset_key), partition)

    @property
    def storage(self) -> RunStorage:
        """Where the outputs, the artifacts and the ledger are."""
        return RunStorage.at(self.base_path or self._base, self.ledger_url)


def _asset_path(asset_key: dg.AssetKey | Sequence[str] | str) -> Sequence[str]:
    if isinstance(asset_key, str):
        return dg.AssetKey.from_user_string(asset_key).path
    return dg.AssetKey.from_coercible(asset_key).path


def _annotated(capture: StoredOutput, kind: object) -> Any:
    """Return an output as its reader asks for it."""
    return as_annotated(_output_of(capture), kind, output_name(capture.asset_path, capture.key))


def _output_of(capture: StoredOutput) -> FrozenDict:
    return output_made(capture.envelope, capture.artifacts, output_name(capture.asset_path, capture.key))


def _upstream(context: dg.InputContext) -> tuple[tuple[str, ...], list[str] | None]:
    """Return whose output is asked for, and of which partitions; None: it has none."""
    if not context.has_asset_key:
        raise ContextError(
            f"input {context.name!r} is the output of an op, which has no asset key; use workflow_assets "
            "for values that others read, or another IO manager for ops of your own"
        )
    if not context.has_asset_partitions:
        return tuple(context.asset_key.path), None
    keys = in_order(context.asset_partition_keys, context.asset_partitions_def)
    return tuple(context.asset_key.path), keys


def _partition(key: str | None, scheme: PartitionScheme | None, capture: StoredOutput) -> PartitionKey | str | None:
    """Return the partition of an output as its reader knows it."""
    return capture.partition or key if key is None or scheme is None else from_dagster_key(key, scheme)


def _step_of(context: dg.InputContext) -> tuple[str, ...] | None:
    """Return the workflow and the step that an asset is of, if it is one of ours and known here."""
    upstream = context.upstream_output
    found = upstream.definition_metadata.get(STEP_METADATA) if upstream is not None else None
    return None if found is None else tuple(str(getattr(found, "value", found)).split("/"))


def _by_partition(context: dg.InputContext, step: Any) -> bool:
    """Whether the input is a dict by partition even when that is just one."""
    kind = getattr(context.dagster_type, "typing_type", None)
    if get_origin(kind) is not None and get_args(kind)[:1] == (PartitionKey,):
        return True
    if step is None:
        return False
    # An asset without partitions may be in a run of a partition, and reads all that there are.
    op = dg.OpExecutionContext(step)
    assets = op.assets_def if op.has_assets_def else None
    own = step.run_partitions_def if assets is None else assets.partitions_def
    if step.has_partition_key_range or not same_windows(own, context.asset_partitions_def):
        return True
    # A mapping may ask for several, of which there are more or fewer from one run to the next.
    mapping = assets.get_partition_mapping(context.asset_key) if assets is not None else None
    is_same = own == context.asset_partitions_def and isinstance(mapping, dg.IdentityPartitionMapping)
    return mapping is not None and not is_same


def _nothing(context: dg.InputContext, step: Any) -> ArtifactError:
    """Return what is wrong where a reader expects the output of its own partition, and there is no such partition."""
    return ArtifactError(
        f"asset {context.asset_key.to_user_string()} has no partition for {step.partition_key}, as for a day that is "
        f"no session; leave that partition out (partitions_def(scheme)), or annotate {context.name!r} as "
        "dict[PartitionKey, ...], which is empty then"
    )


def _captures_of_values(context: dg.OutputContext, obj: Any, storage: RunStorage) -> Iterator[StoredOutput]:
    """Wrap what an asset of the user's returned."""
    step = step_context(context)
    if step is None or not context.has_asset_key:
        raise ContextError(f"WorkflowIOManager keeps outputs of assets in a run; {context.name!r} is none")
    facts, store = storage.with_captures(run_facts(dg.OpExecutionContext(step))), storage.artifacts
    asset_path = tuple(context.asset_key.path)
    scheme = scheme_of(context.asset_partitions_def) if context.has_asset_partitions else None
    for key, value in _by_key(context, obj):
        partition, capture_id = facts.capture(key, scheme)
        if is_skip(value) and not isinstance(obj, PartitionOutputs):
            raise ContextError(
                f"asset {context.asset_key.to_user_string()} returned a skip, and Dagster would call the partition "
                "materialised; write: yield from partition_outputs(context, {key: output or skip})"
            )
        result = value if is_skip(value) else StepResult.ok(value)
        result = replace(result, output=keep_tables(result.output, store, asset_path[-1]))
        envelope = Upstream().envelope(asset_path[-1], result, store=store, limit=MAX_INLINE_BYTES)
        yield StoredOutput(
            asset_path=asset_path,
            key=key,
            partition=partition,
            capture_id=capture_id,
            run_id=facts.run_id,
            envelope=envelope,
            artifacts=store,
        )


def _by_key(context: dg.OutputContext, obj: Any) -> Iterable[tuple[str | None, Any]]:
    if not context.has_asset_partitions:
        return [(None, obj)]
    keys = list(context.asset_partition_keys)
    values = by_dagster_key(obj, keys, context.asset_partitions_def) if isinstance(obj, Mapping) else {}
    if len(keys) == 1 and not (keys[0] in values and (is_by_partition(obj) or _takes_ranges(context))):
        return [(keys[0], obj)]
    missing = [key for key in keys if key not in values]
    if missing or len(values) != len(keys):
        raise ContextError(
            f"asset {context.asset_key.to_user_string()} was run for {len(keys)} partitions and must return "
            f"a dict with one output for each; {f'{missing[0]!r} is missing' if missing else 'it has more than those'} "
            "(partition_outputs takes StepResult.skip(reason) for one that is left out)"
        )
    return [(key, values[key]) for key in keys]


def _takes_ranges(context: dg.OutputContext) -> bool:
    """Whether the asset returns one output for each partition also where its run has one only."""
    step = step_context(context)
    policy = dg.OpExecutionContext(step).assets_def.backfill_policy
    return bool(step.has_partition_key_range or (policy is not None and policy.max_partitions_per_run != 1))
