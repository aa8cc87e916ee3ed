"""What the events of the assets that triggered a run say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from flowctx.core.workflow.run_request import RunRequest


@dataclass(frozen=True, kw_only=True)
class TriggeringEvents:
    """What the events of the assets that triggered a run say of it, where they agree."""

    batch_id: str | None = None
    trace_id: str | None = None
    as_of_date: date | None = None
    #: The partition that all events agree on, if they do.
    partitions: list[Any]
    #: Where events disagree, or only some of them say anything: all that they say, by ``batch_ids`` and so on.
    many: Mapping[str, list[Any]]

    @classmethod
    def of(cls, events: Any, request: RunRequest) -> TriggeringEvents:
        """Read what they say beside what the run's own request does."""
        many: dict[str, list[Any]] = {}
        agreed: dict[str, str] = {}
        extras = [event.extra or {} for of_asset in (events or {}).values() for event in of_asset]
        for name in ("batch_id", "trace_id", "as_of_date"):
            if getattr(request, name) is not None:
                continue
            stated = [v for extra in extras if isinstance(v := extra.get(name), str) and v]
            values = sorted(set(stated))
            if len(values) == 1 and len(stated) == len(extras):
                agreed[name] = values[0]
            elif values:
                many[f"{name}s"] = values
        stated = [value for extra in extras if (value := extra.get("partition"))]
        partitions = [value for i, value in enumerate(stated) if value not in stated[:i]]
        if len(partitions) > 1 or (partitions and len(stated) < len(extras)):
            many["partitions"], partitions = partitions, []
        found = RunRequest.parse(agreed.get)
        return cls(
            batch_id=found.batch_id,
            trace_id=found.trace_id,
            as_of_date=found.as_of_date,
            partitions=partitions,
            many=many,
        )
