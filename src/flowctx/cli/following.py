"""How a batch comes along: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import shlex
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from flowctx.backfill import LaunchListener, LaunchProgress
from flowctx.backfill.again import GOES_ON
from flowctx.backfill.status import counted
from flowctx.cli.output import echo, print_facts, print_json, shown, spent
from flowctx.core.batches.outcomes import says_changed
from flowctx.core.batches.records import PartitionRun, PartitionState
from flowctx.core.printable import amount, share

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

#: How often a log gets a line, in seconds.
_EVERY_SECONDS = 10.0
#: So many failures are shown as they happen; `flowctx status` lists them all.
_MOST_FAILURES = 20
#: In a narrower terminal, the bar would leave no room for the figures beside it.
_WIDE = 80


def listener(batch_id: str) -> _Lines:
    """Return what shows the progress of a batch on standard error, as suits it."""
    if not sys.stderr.isatty():
        return _Lines(batch_id)
    from rich.console import Console  # here: a log needs neither

    return _Bar(batch_id, Console(stderr=True, highlight=False))


class _Lines(LaunchListener):
    """Plain lines, for logs."""

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.shown_at = time.monotonic()
        self.shown: object = None
        self.failures = 0
        #: How many could not go on with what they have, because their workflow has changed since.
        self.refused = 0

    def begun(self, progress: LaunchProgress) -> None:
        self.say(amount(progress.total, "partition"))

    def news(self, run: PartitionRun, progress: LaunchProgress) -> None:
        if run.state is PartitionState.FAILED:
            self.failures += 1
            self.refused += says_changed(run.error)
            if self.failures <= _MOST_FAILURES:
                self.say(failure_text(run))
            elif self.failures == _MOST_FAILURES + 1:
                self.say(f"more failures are not shown here; see: flowctx status {shlex.quote(self.batch_id)}")

    def tick(self, progress: LaunchProgress) -> None:
        found = (progress.passed, dict(progress.ended), progress.waiting)
        if found != self.shown and time.monotonic() - self.shown_at >= _EVERY_SECONDS:
            self.shown_at, self.shown = time.monotonic(), found
            self.say(progress_text(progress))

    def stopping(self, why: str, progress: LaunchProgress) -> None:
        self.say(f"{why}: no more partitions are begun, {progress.under_way} are under way")

    def over(self, progress: LaunchProgress) -> None:
        self.say(progress_text(progress))

    def say(self, text: str) -> None:
        """Print a line."""
        echo(text, err=True)


class _Bar(_Lines):
    """A bar that moves, with failures above it."""

    def __init__(self, batch_id: str, console: Console) -> None:
        super().__init__(batch_id)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # here: a log has no bar

        bar = [BarColumn()] if console.width >= _WIDE else []
        columns = (*bar, MofNCompleteColumn(), TextColumn("{task.fields[more]}"))
        self.progress = Progress(*columns, console=console, transient=False)
        self.task: TaskID | None = None

    def begun(self, progress: LaunchProgress) -> None:
        self.progress.start()
        self.task = self.progress.add_task("", total=progress.total, more="")

    def tick(self, progress: LaunchProgress) -> None:
        if self.task is not None:
            _, _, more = progress_text(progress).partition(" · ")
            self.progress.update(self.task, completed=progress.passed, more=more)

    def over(self, progress: LaunchProgress) -> None:
        self.tick(progress)
        self.progress.stop()

    def say(self, text: str) -> None:
        from rich.text import Text

        self.progress.console.print(Text(shown(text)))


def progress_text(progress: LaunchProgress) -> str:
    """Return how far a launch has come, in a line."""
    parts = [
        f"{progress.passed:,}/{progress.total:,} ({share(progress.passed, progress.total)})"
        if progress.total
        else "0/0"
    ]
    parts += [f"{count:,} {state}" for state, count in sorted(progress.ended.items())]
    if progress.waiting:
        parts.append(f"{progress.waiting:,} wait")
    if progress.ended:
        parts.append(f"{progress.rate:.1f}/s")
    if progress.seconds_left and not progress.stopped:
        parts.append(f"{spent(timedelta(seconds=max(1, round(progress.seconds_left))))} left")
    return " · ".join(parts)


def failure_text(run: PartitionRun) -> str:
    """Return what failed and why, in a line."""
    step = f" at {run.step}" if run.step else ""
    return f"failed: {run.title}{step}: {' '.join((run.error or 'no reason given').split())}"


def show_tally(
    progress: LaunchProgress, batch_id: str, as_json: bool, from_step: str | None = None, refused: int = 0
) -> None:
    """Print what a launch has come to, and what to type next.

    Args:
        progress: What it has come to.
        batch_id: The batch.
        as_json: Whether a program reads it.
        from_step: The step from which partitions were to run again.
        refused: How many could not go on, because their workflow has changed since.
    """
    ended = {str(state): count for state, count in progress.ended.items()}
    before = {str(state): count for state, count in progress.before.items() if state is not PartitionState.WAITING}
    if as_json:
        print_json(
            {
                "total": progress.total,
                "ended": ended,
                "before": before,
                "waiting": progress.waiting,
                "under_way": progress.under_way,
                "left": progress.left,
                "stopped": progress.stopped,
                "params_kept": progress.params_kept,
            }
        )
        return
    nothing = "nothing ended" if progress.left or progress.under_way else "nothing was left to run"
    print_facts(
        {
            "batch": batch_id,
            "partitions": f"{progress.total:,}",
            "before": ", ".join(f"{count:,} {state}" for state, count in before.items()) or None,
            "now": ", ".join(f"{count:,} {state}" for state, count in ended.items()) or nothing,
            "waiting": f"{progress.waiting:,}, for {_waited_for(progress)}" if progress.waiting else None,
            "under way": f"{progress.under_way:,}, when this ended" if progress.under_way else None,
            "left": f"{progress.left:,}" if progress.left else None,
            "stopped": progress.stopped,
        }
    )
    if refused:
        echo(
            f"{amount(refused, 'partition')} could not go on, since the workflow has changed: flowctx status "
            f"{shlex.quote(batch_id)} tells what has, why they had failed before, and how they go on"
        )
    _show_hints(progress, shlex.quote(batch_id), from_step, refused)


def _waited_for(progress: LaunchProgress) -> str:
    if progress.elsewhere:
        return "what failed or is under way elsewhere" if progress.failed else "what is under way elsewhere"
    return "what failed" if progress.failed else "what has not ended well"


def _show_hints(progress: LaunchProgress, batch_id: str, from_step: str | None, refused: int) -> None:
    """Print what to type next."""
    for engine, count in progress.elsewhere.items():
        echo(f"{count:,} are under way on {engine}; go on there (--on {engine}), or: flowctx cancel {batch_id}")
    if from_step is not None and not progress.ended and progress.total == progress.passed:
        echo("--from-step goes with what runs again; complete partitions are redone under another --batch id")
    left = {str(state): progress.ended[state] for state in GOES_ON if progress.ended.get(state)}
    if progress.failed > refused:
        echo(f"see why: flowctx status {batch_id}; it says how to run them again")
    elif progress.stopped or left or progress.total > progress.passed:
        echo(f"{counted(left)}: the same command goes on with them" if left else "the same command goes on")
