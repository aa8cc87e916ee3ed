"""What a run for several partitions says of a check: one result for all."""
# No `from __future__ import annotations`: like its neighbours, which Dagster reads.

from collections.abc import Iterator

import dagster as dg

from flowctx.core.workflow.run_request import TAG_PREFIX


def one_check(checks: list[dg.AssetCheckResult]) -> Iterator[dg.AssetCheckResult]:
    """Yield one result for all partitions: the worst, with what is wrong in each."""
    if not checks:
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
