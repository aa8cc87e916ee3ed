"""Workflows drawn for people: Mermaid, and data in a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from flowctx.core.masking import mask_data


class Node(Protocol):
    """A step, as far as it is drawn."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def after(self) -> tuple[str, ...]:
        """The steps that it follows."""

    @property
    def when(self) -> Any:
        """Its condition, if it has one."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What it reads of other partitions and workflows."""

    @property
    def run_if(self) -> str:
        """Of which ends of the steps before it it runs."""


def mermaid(steps: Mapping[str, Node]) -> str:
    """Return the steps and their order as a Mermaid flow chart; a step with a condition is a rhomb.

    What a step reads of other partitions and workflows stands before it, with a dotted line.

    Example:
        >>> print(mermaid({}))
        flowchart LR
    """
    lines = ["flowchart LR"]
    for step in steps.values():
        shape = f"{{{step.name}}}" if step.when is not None else f"[{step.name}]"
        lines.append(f"    {step.name}{shape}")
        arrow = "-->" if step.run_if == "ok" else f"-- {step.run_if} -->"
        lines += [f"    {before} {arrow} {step.name}" for before in step.after]
        for name, item in step.inputs.items():
            source, read = item.workflow.name, item.step_name
            lines.append(f"    {source}_{read}_input([{source}: {read}]) -. {name} .-> {step.name}")
    return "\n".join(lines)


def embedded(data: object) -> str:
    """Return JSON-ready data as it may stand in a script of an HTML page, without secrets.

    ``</script>`` would end the script in which the data stands, and ``<!--<script>`` would hide its end.

    Example:
        >>> len(embedded({"a": "</script>"}))
        27
    """
    text = json.dumps(mask_data(data), separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
