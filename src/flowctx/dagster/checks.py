"""The quality metrics of a step as an asset check, partitioned as its asset is where Dagster can have that."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import dagster as dg

from flowctx.core.workflow.result import QualityMetrics, StepStatus
from flowctx.core.workflow.run_request import TAG_PREFIX
from flowctx.dagster._compat import quiet
from flowctx.dagster._versions import DAGSTER

#: Name of the check that shows a step's quality metrics.
QUALITY_CHECK = "quality"

CheckEvent: TypeAlias = dg.AssetCheckResult | dg.AssetCheckEvaluation


def check_spec(asset_key: dg.AssetKey, definition: dg.PartitionsDefinition[str] | None) -> dg.AssetCheckSpec:
    """Return the check of a step's asset."""
    by_partition: dict[str, Any] = {"partitions_def": definition} if DAGSTER.able("partitioned checks") else {}
    with quiet():  # partitions_def= is in preview
        return dg.AssetCheckSpec(
            QUALITY_CHECK, asset=asset_key, description="The quality metrics that the step reports.", **by_partition
        )


def quality_check(
    asset_key: dg.AssetKey | None,
    quality: QualityMetrics,
    status: StepStatus,
    error: str | None,
    identity: Mapping[str, Any],
) -> dg.AssetCheckResult:
    """Return what a step found: an error where the step stopped at it, else a warning."""
    return dg.AssetCheckResult(
        passed=quality.passed,
        asset_key=asset_key,
        check_name=QUALITY_CHECK,
        severity=dg.AssetCheckSeverity.ERROR if status is StepStatus.FAILED else dg.AssetCheckSeverity.WARN,
        description="; ".join(quality.reasons) or error,
        metadata={**quality.counts, **quality.rates, **identity},
    )


def of_partition(check: dg.AssetCheckResult, key: str | None) -> CheckEvent:
    """Return the result as that of a partition, in a run that Dagster does not take for one of that partition alone."""
    if key is None or check.asset_key is None or check.check_name is None or not DAGSTER.able("partitioned checks"):
        return check
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.check_name,
        passed=check.passed,
        severity=check.severity,
        description=check.description,
        metadata=check.metadata,
        partition=key,
    )


def range_checks(checks: Sequence[CheckEvent]) -> Iterator[CheckEvent]:
    """Yield the results of a range: one for each partition, or where Dagster has none by partition one for all."""
    if len(checks) < 2 or DAGSTER.able("partitioned checks"):
        yield from checks
        return
    wrong = [check for check in checks if not check.passed]
    severe = any(check.severity is dg.AssetCheckSeverity.ERROR for check in wrong)
    texts = [f"{check.metadata[f'{TAG_PREFIX}partition'].value}: {check.description}" for check in wrong]
    yield dg.AssetCheckResult(
        passed=not wrong,
        asset_key=checks[0].asset_key,
        check_name=checks[0].check_name,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description="; ".join(texts[:10]) or None,
        metadata={"partitions": len(checks), "not passed": len(wrong)},
    )
