"""Contexts and imports: `import flowctx`, and one context derived, encoded and decoded."""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from datetime import date
from typing import Any

import msgspec
import pydantic
from curve_case import curve
from report import compare, show

from flowctx import WorkflowContext, run


def sample() -> WorkflowContext:
    """A context of about 2 KB of JSON."""
    ctx = WorkflowContext.new(
        params={f"param_{i}": i for i in range(20)},
        partition={"date": "2026-01-09", "symbol": "IBM"},
        as_of_date=date(2026, 1, 9),
    )
    for i in range(8):
        ctx = ctx.with_step_output(
            f"step_{i}", {"rows": i, "mean": 1.5, "session": date(2026, 1, 9), "ids": ["a", "b", "c"], "name": "x" * 40}
        )
    return ctx


class Model(pydantic.BaseModel):
    """The same fields as a pydantic model of built-ins."""

    data: dict[str, Any]


@dataclasses.dataclass
class Plain:
    """The same fields as a plain dataclass of built-ins."""

    data: dict[str, Any]


def added(data: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a context with the parameter and the output more that a context gets here."""
    outputs = {**data["step_outputs"], "last": {"rows": 1}}
    return {**data, "params": {**data["params"], "x": 1}, "step_outputs": outputs}


def contexts() -> None:
    """Derive, encode and decode."""
    ctx = sample()
    data = ctx.to_dict()
    repeat = 200
    made: list[WorkflowContext] = []

    received = WorkflowContext.from_bytes(ctx.to_bytes())

    def derived(before: WorkflowContext) -> WorkflowContext:
        return before.with_updates({"x": 1}).with_step_output("last", {"rows": 1})

    def one_read() -> bytes:
        found = WorkflowContext.from_bytes(raw)
        found.get_output("step_3", "rows")
        return derived(found).to_bytes()

    def never_written() -> WorkflowContext:
        return WorkflowContext.from_bytes(derived(made.pop()).to_bytes())

    def by_dicts() -> WorkflowContext:
        return WorkflowContext.from_dict(msgspec.json.decode(msgspec.json.encode(derived(ctx).to_dict())))

    raw = ctx.to_bytes()
    compare(
        f"A context of {len(raw)} bytes: derived, encoded, decoded",
        {
            "msgspec alone, built-ins, nothing added": lambda: msgspec.json.decode(msgspec.json.encode(data)),
            "msgspec alone, built-ins, the same added": lambda: msgspec.json.decode(msgspec.json.encode(added(data))),
            "as a step received it": lambda: WorkflowContext.from_bytes(derived(received).to_bytes()),
            "received, one of eight outputs read, sent": one_read,
            "all outputs made here, with dates": lambda: WorkflowContext.from_bytes(derived(ctx).to_bytes()),
            "all outputs made here, none written before": never_written,
            "all outputs made here, by way of dicts": by_dicts,
            "pydantic, built-ins": lambda: Model.model_validate_json(Model(data=data).model_dump_json()),
            "json and asdict, built-ins": lambda: Plain(**json.loads(json.dumps(dataclasses.asdict(Plain(data))))),
        },
        rounds=15,
        repeat=repeat,
        clock=time.process_time,
        before={"all outputs made here, none written before": lambda: made.extend(sample() for _ in range(repeat))},
        budget="twice msgspec alone as a step received it, and ahead of pydantic",
    )


def context_of_a_run() -> None:
    """Derive, encode and decode the context at the end of a run, whose metadata has its window, due time and engine."""
    ctx = run(curve, partition="2022-01-03|001", ledger=None).context
    received, data = WorkflowContext.from_bytes(ctx.to_bytes()), ctx.to_dict()

    def handed_on(before: WorkflowContext) -> bytes:
        return before.with_updates({"x": 1}).with_step_output("last", {"rows": 1}).to_bytes()

    compare(
        f"The context of a run, {len(ctx.to_bytes())} bytes: derived, encoded, decoded",
        {
            "msgspec alone, built-ins, nothing added": lambda: msgspec.json.decode(msgspec.json.encode(data)),
            "msgspec alone, built-ins, the same added": lambda: msgspec.json.decode(msgspec.json.encode(added(data))),
            "as a step received it": lambda: WorkflowContext.from_bytes(handed_on(received)),
            "made here": lambda: WorkflowContext.from_bytes(handed_on(ctx)),
            "pydantic, built-ins": lambda: Model.model_validate_json(Model(data=data).model_dump_json()),
        },
        rounds=15,
        repeat=200,
        clock=time.process_time,
    )


def imports() -> None:
    """Import in fresh processes, bytecode warm."""
    names = ["flowctx", "msgspec", "dataclasses, logging, decimal, uuid, zoneinfo", "airflow.sdk", "dagster"]
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(4):
        for name in names:
            code = f"import time; t = time.perf_counter()\nimport {name}\nprint(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            samples[name].append(float(done.stdout.split()[-1]))
    medians = {f"import {name}": statistics.median(values[1:]) for name, values in samples.items()}
    show("Import, warm bytecode", medians, budget="60 ms")


def main() -> None:
    """Print both."""
    imports()
    contexts()
    context_of_a_run()


if __name__ == "__main__":
    main()
