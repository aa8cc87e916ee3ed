"""What is printed: tables for people, JSON for programs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from flowctx.cli.blocks import Block, Cell, Paragraph, cells_of
from flowctx.cli.options import CommandError
from flowctx.cli.standard_output import is_terminal, write, write_json
from flowctx.cli.typed_ledger import note_advice
from flowctx.core.data.encoding import BUILT_INS, to_json
from flowctx.core.durability.records import Capture, RunRecord, StepRecord, VersionRead
from flowctx.core.errors import FlowctxError
from flowctx.core.masking import mask_data, mask_text, text_masker
from flowctx.core.printable import printable
from flowctx.core.temporary_files import WaitingItems
from flowctx.core.whole_files import whole_file
from flowctx.core.workflow.context import WorkflowContext
from flowctx.core.workflow.result import StepResult
from flowctx.core.workflow.run_result import RunResult

if TYPE_CHECKING:
    from rich.console import Console

#: What JSON may hold and no terminal should be sent: C1 controls, separators of lines, marks that turn a text around.
_UNSEEN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_COLOURS = {
    "ok": "green",
    "complete": "green",
    "failed": "red",
    "running": "cyan",
    "held": "cyan",
    "skipped": "yellow",
    "tolerated": "yellow",
    "not_run": "dim",
    "not_ended": "dim",
    "released": "dim",
}
#: Writes values that hold no others, one to a line.
_FLAT = json.JSONEncoder(ensure_ascii=False, separators=(",\n    ", ": "))
#: A last column of free text is folded if it has so many characters to itself; else each row becomes a block.
_LEAST_FOLDED = 24
#: So many items are written at a time.
_BLOCK = 100
#: So many rows of a table are in memory at a time.
_PAGE = 500
#: Wider than any line, in characters.
_NO_END = 100_000


def shown(text: str, *, lines: bool = False) -> str:
    """Return a text as it may be shown: without secrets, and with control characters as escapes."""
    return printable(mask_text(text), lines=lines)


def echo(text: str, *, err: bool = False) -> None:
    """Print a text."""
    note_advice(text)
    if err:
        click.echo(shown(text, lines=True), err=True)
    else:
        write(shown(text, lines=True))


def print_json(data: object) -> None:
    """Print JSON, in a fixed order, without secrets."""
    write_json(json_text(mask_data(data)))


def json_text(data: object) -> str:
    """Return data as JSON that every terminal and every encoding takes."""
    return _escaped(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def _escaped(text: str) -> str:
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def json_list(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the text that :func:`json_text` returns of a list, with a newline, item by item."""
    before = "["
    for item in items:
        yield before + (_flat_json(item) if BUILT_INS.issuperset(map(type, item.values())) else json_text([item])[1:-2])
        before = ","
    yield "\n]\n" if before == "," else "[]\n"


def print_json_with_list(head: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]) -> None:
    """Print as :func:`print_json` a dict of which the last value is a list, so many of its items at a time.

    Args:
        head: The values before the list.
        name: The name of the list.
        items: Its items, without secrets.
    """
    start = json_text({**mask_data(head), name: []}).removesuffix("[]\n}")
    inside = (text.removesuffix("\n").replace("\n", "\n  ") for text in json_list(items))
    for block in in_blocks(itertools.chain([start], inside, ["\n}\n"])):
        write_json(block, nl=False)


def print_json_list(items: Iterable[Mapping[str, Any]]) -> None:
    """Print a list as JSON, without secrets, so many items at a time."""
    for block in in_blocks(json_list(map(mask_data, items))):
        write_json(block, nl=False)


def in_blocks(texts: Iterator[str]) -> Iterator[str]:
    """Yield so many texts at a time as are worth a write."""
    return iter(lambda: "".join(itertools.islice(texts, _BLOCK)), "")


def _flat_json(item: Mapping[str, Any]) -> str:
    text = _FLAT.encode(item)[1:-1]  # json's fast encoder takes no indents
    return _escaped(f"\n  {{\n    {text}\n  }}" if item else "\n  {}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Iterable[object]], *, none: str = "") -> None:
    """Print a table; words that say how something stands are coloured.

    Args:
        title: What it shows; a line of its own.
        columns: The headings, which may be names from data. The last column may be folded where the terminal is narrow.
        rows: The cells; ``None`` is left empty.
        none: What to say in place of a table without rows.
    """
    mask = text_masker()
    headings = [_one_line(column, mask) for column in columns]
    cells = (["" if cell is None else _one_line(cell, mask) for cell in row] for row in rows)
    with WaitingItems() as waiting:
        widths = list(map(cells_of, headings))
        while page := list(itertools.islice(cells, _PAGE)):
            widths = wider(widths, page)
            waiting.put(page)
            none = ""
        if none:
            echo(none)
            return
        show(Paragraph([Cell(shown(title, lines=True), "bold")]))
        for block in blocks(headings, waiting, widths, console().width if is_terminal() else _NO_END):
            show(block)


def wider(widths: Sequence[int], rows: Iterable[Sequence[str]]) -> list[int]:
    """Return how wide columns are that have some more rows."""
    return [max(width, *map(cells_of, cells)) for width, cells in zip(widths, zip(*rows, strict=True), strict=True)]


def _one_line(cell: object, mask: Callable[[str], str]) -> str:
    return printable(mask(" ".join(str(cell).split())))


def blocks(
    columns: Sequence[str], pages: Iterable[Sequence[Sequence[str]]], widths: Sequence[int], width: int
) -> Iterator[Block | Paragraph]:
    """Yield a table, or a block of names and values for each row if the table cannot be read at this width.

    Args:
        columns: The headings.
        pages: The rows, so many at a time; a table goes on below what was yielded before.
        widths: How wide each column is.
        width: How wide the table may be.
    """
    if sum(widths[:-1]) + 2 * len(widths[:-1]) + min(widths[-1], _LEAST_FOLDED) > width:
        for row in itertools.chain.from_iterable(pages):
            yield _facts(zip(columns, map(_cell, row), strict=True))
            yield Paragraph()
        return
    yield Block(rows=[], headings=columns, widths=widths)
    for page in pages:
        yield Block(rows=[[_cell(text) for text in row] for row in page], headings=columns, widths=widths, below=True)


def as_of(run: RunRecord) -> str | None:
    """Return what tells a run without a partition from others: the date that it is about."""
    return f"as of {run.context.as_of_date}" if run.context.as_of_date else None


def write_file(file: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file that is its owner's alone, all or nothing.

    Raises:
        CommandError: It cannot be written.
    """
    with new_file(file) as place:
        place.writelines([data] if isinstance(data, bytes) else data)


@contextmanager
def new_file(file: Path) -> Iterator[BinaryIO]:
    """Yield what takes the bytes of a file that is its owner's alone; if the block raises, nothing has changed.

    Raises:
        CommandError: It cannot be written.
    """
    try:
        with whole_file(file, mode=0o600) as place:
            yield place
    except FlowctxError:  # such as a ledger that is away, which is an OSError, too
        raise
    except OSError as exc:
        raise CommandError(f"{file} cannot be written ({exc.strerror}); name another file") from exc


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one to a line; what is ``None`` is left out."""
    show(_facts((name, _cell(shown(str(value)))) for name, value in facts.items() if value is not None))


def _facts(facts: Iterable[tuple[str, Cell]]) -> Block:
    return Block(rows=[(Cell(name, "dim"), value) for name, value in facts if value.text])


def _cell(text: str) -> Cell:
    return Cell(text, _COLOURS.get(text, ""))


def show(block: Block | Paragraph) -> None:
    """Print what is to be seen; a pipe gets whole lines without blanks at their ends."""
    if is_terminal():
        console().print(block)
        return
    write("\n".join([line.rstrip() for line in block.lines()]))


def console() -> Console:
    """Return a console for the terminal that standard output is now."""
    from rich.console import Console  # here, because it is slow to import

    return Console(highlight=False)


def print_result(result: RunResult, as_json: bool) -> None:
    """Print what happened in a run."""
    ctx = result.context
    if as_json:
        steps = [
            {
                "name": entry.name,
                "status": str(entry.status),
                "attempts": entry.attempts,
                "seconds": entry.duration.total_seconds(),
                "error": entry.error,
                "category": str(entry.category) if entry.category else None,
            }
            for entry in result.steps
        ]
        facts = {"run_id": result.run_id, "workflow": result.workflow, "status": str(result.status)}
        print_json({**facts, "steps": steps, "context": ctx.to_dict()})
        return
    before = ctx.checkpoint.completed if ctx.checkpoint else ()
    rows = [
        (e.name, e.status, e.attempts or None, spent(e.duration) if e.attempts else None, e.error)
        if e.name not in before
        else (e.name, e.status, None, None, "complete before; not run again")
        for e in result.steps
    ]
    print_table(f"{result.workflow} {ctx.partition or ''}".strip(), ("step", "status", "tries", "took", "why"), rows)
    print_facts({"run": result.run_id, "status": result.status, "capture": ctx.capture_id})


def masked_json(value: object) -> str:
    """Return JSON-ready data as one line of JSON, without secrets."""
    return json.dumps(mask_data(value), ensure_ascii=False)


def context_facts(ctx: WorkflowContext) -> dict[str, object]:
    """Return what a person wants to know of a context."""
    params = masked_json(to_json(ctx.params)) if ctx.params else None
    return {
        "partition": ctx.partition,
        "as of": ctx.as_of_date,
        "batch": ctx.batch_id,
        "trace": ctx.trace_id,
        "capture": ctx.capture_id,
        "params": params,
        "completed before": ", ".join(ctx.checkpoint.completed) or None if ctx.checkpoint else None,
    }


def run_data(run: RunRecord) -> dict[str, Any]:
    """Return a run as JSON-ready data."""
    ctx = run.context
    return {
        "run_id": run.run_id,
        "workflow": run.workflow,
        "status": str(run.status),
        "attempt": run.attempt,
        "engine": run.engine,
        "partition": str(ctx.partition) if ctx.partition else None,
        "as_of_date": ctx.as_of_date.isoformat() if ctx.as_of_date else None,
        "batch_id": ctx.batch_id,
        "capture_id": ctx.capture_id,
        "started_at": ctx.started_at.isoformat(),
        "last_seen_at": run.last_seen_at.isoformat() if run.last_seen_at else None,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "error": run.error,
        "target": run.import_path,
        "selected": list(run.selected),
        "continued_by": run.continued_by,
    }


def step_data(record: StepRecord) -> dict[str, Any]:
    """Return a recorded step as JSON-ready data."""
    return {
        "name": record.step,
        "status": str(record.status),
        "after": list(record.after),
        "attempts": record.attempts,
        "run_attempt": record.run_attempt,
        "started_at": record.started_at.isoformat(),
        "seconds": record.seconds,
        "version": record.version,
        "error": record.error,
        "traceback": record.traceback,
        "category": str(record.category) if record.category else None,
        "output": to_json(record.output),
        "inputs": {name: [input_data(read) for read in reads] for name, reads in record.inputs.items()},
        "updates": to_json(record.updates),
        "quality": to_json(record.quality.to_dict()) if record.quality else None,
    }


def input_data(read: VersionRead) -> dict[str, Any]:
    """Return a version that a step has read as JSON-ready data."""
    return {
        "workflow": read.workflow,
        "step": read.step,
        "partition": str(read.partition) if read.partition else None,
        "capture_id": read.capture_id,
        "revision": read.revision,
        "digest": read.digest,
    }


def capture_data(capture: Capture) -> dict[str, Any]:
    """Return a capture as JSON-ready data."""
    return {
        "capture_id": capture.key.capture_id,
        "revision": capture.revision,
        "state": str(capture.state),
        "skipped": capture.is_hole,
        "workflow": capture.workflow,
        "partition": str(capture.partition) if capture.partition else None,
        "run_id": capture.run_id,
        "claimed_at": capture.claimed_at.isoformat(),
        "completed_at": capture.completed_at.isoformat() if capture.completed_at else None,
        "lease_until": capture.lease_until.isoformat(),
    }


def result_data(result: StepResult) -> dict[str, Any]:
    """Return a step's result as JSON-ready data."""
    return {
        "status": str(result.status),
        "output": to_json(result.output),
        "updates": to_json(result.context_updates),
        "quality": to_json(result.quality.to_dict()) if result.quality else None,
        "error": result.error,
        "category": str(result.category) if result.category else None,
    }


def clock_time(time: datetime | None) -> str | None:
    """Return a time as people read it, in UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else None


def spent(duration: timedelta) -> str:
    """Return a duration as people read it."""
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
