"""A ledger for a process that does many short runs: what they write is committed in groups.

Without it, a run of five steps is seven commits, each of which waits for the disk. Here a write is put off until the
work that it stands for is as old as a group may be, or until somebody needs to know that it is there:

* A step that took as long as that is committed before the next one begins: long steps are recorded one by one.
* Where commits wait, for a slow disk or for others that write, a group may be older, so that there are fewer of them.
* Before anything is read, what was put off is committed; so are beginnings, together with it.
* What is put off while a long step runs is committed by a thread.

A write that is refused harms no other of its group: its run is told with its next write, or when it asks what became
of it (:meth:`~GroupedLedger.when_committed`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any, Final, Unpack

from sqlalchemy.engine import Connection

from flowctx.core.durability.ledger_options import BeginOptions
from flowctx.core.durability.records import RunRecord, RunStatus, StepRecord
from flowctx.core.errors import FlowctxError, LedgerUnavailable
from flowctx.ledger.ownership import new_nonce
from flowctx.ledger.sql import Beginning, SqlLedger
from flowctx.ledger.together import Ending, Together

#: How old the work may be that no commit stands for yet.
GROUP_SECONDS: Final = 0.02
#: Where commits wait for others or for the disk, it may be so many times as old as they wait,
_TIMES_AS_OLD: Final = 10
#: but no older than this.
_MOST_SECONDS: Final = 0.2
#: How much longer the thread waits, so that it is of use only while a step runs.
_GRACE_SECONDS: Final = 0.01
#: How many writes a group has at most.
_MOST_WRITES: Final = 256


@dataclass(frozen=True)
class _Write:
    """A write that was put off."""

    #: The digest of the key of its run.
    run: str
    #: Does it within a transaction, and raises before it has written anything if it is refused.
    work: Callable[[Connection], Any]
    #: The same as a part of what is written together: a beginning, an end, or the rows of steps.
    part: Beginning | Ending | Sequence[Mapping[str, Any]]


#: What became of writes: what they returned, or why they were refused.
_Answers = dict[int, Any]


class GroupedLedger(SqlLedger):
    """Remembers runs in a database, and commits what several of them write together.

    Args:
        url: As for :class:`~flowctx.ledger.sql.SqlLedger`.
        owner: Who begins runs there, for people to read.
        seconds: How old the work may be that no commit stands for; 0: the next step waits for the commit; ``None``:
            nothing is put off, so that each call says itself what could not be written.
    """

    def __init__(self, url: str, *, owner: str | None = None, seconds: float | None = GROUP_SECONDS) -> None:
        super().__init__(url, owner=owner)
        self.seconds = seconds
        self._database.before_call = self.flush
        # Rows are looked up by their keys. A plan that was made for a table of one page would read all of it for each,
        # and is kept while the table grows, until somebody analyses it.
        self._database.settings = ("enable_seqscan = off",)
        #: Called when all have been told whose writes were committed.
        self.after_answers: Callable[[], None] = lambda: None
        self._clear()

    def _clear(self) -> None:
        self._writes: list[_Write] = []
        #: When the oldest work began of which the writes are.
        self._since = 0.0
        #: How long the last two commits waited: one alone may have had bad luck.
        self._waited = (0.0, 0.0)
        self._begun: dict[str, RunRecord | FlowctxError] = {}
        self._refused: dict[str, FlowctxError] = {}
        self._awaiting: list[tuple[str, Callable[[FlowctxError | None], None]]] = []
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def _own(self) -> threading.Condition:
        if self._process != os.getpid():  # a fork: what was put off is its parent's, and so is the thread
            self._clear()
        return self._changed

    # -- runs -----------------------------------------------------------------------------------------------------

    def begin_ahead(self, runs: Sequence[RunRecord], lease: timedelta) -> None:
        """Begin several new runs in the transaction of what was put off; :meth:`begin` gives the answer to each."""
        # The subjects' locks come before any row's and in one order, so that two groups cannot deadlock.
        asked = (Beginning(run, new_nonce(), lease=lease, exclusive=True) for run in runs)
        wanted = sorted(asked, key=attrgetter("subject"))
        writes = [_Write(one.run.key.digest, partial(self._begin, wanted=one), one) for one in wanted]
        with self._own():
            answers = self._commit(writes)
            for number, write in enumerate(writes):
                self._begun[write.run] = answers[number]

    def begin(self, run: RunRecord, **how: Unpack[BeginOptions]) -> RunRecord:
        """Begin a run, or say what became of it when it was begun ahead."""
        with self._own():
            answer = self._begun.pop(run.key.digest, None)
        if isinstance(answer, FlowctxError):
            raise answer
        if answer is not None:
            return answer
        return super().begin(run, **how)

    def record(self, run: RunRecord, steps: Sequence[StepRecord]) -> None:
        """Record how steps ended, soon; the next step waits for it if these took long."""
        if self.seconds is None:
            super().record(run, steps)
            return
        rows = self._step_rows(run, steps)
        write = _Write(run.key.digest, self._recording_rows(run, rows), rows)
        is_last = bool(run.steps) and any(record.step == run.steps[-1] for record in steps)
        self._put_off(write, sum(record.seconds for record in steps), waits=not is_last)

    def finish(self, run: RunRecord, status: RunStatus, error: str | None = None) -> None:
        """Say how a run ended, soon; :meth:`when_committed` tells when that is on the disk."""
        if run.is_part or self.seconds is None:
            super().finish(run, status, error)
        else:
            write = _Write(run.key.digest, self._ending(run, status, error), Ending(run, status, error))
            self._put_off(write, 0.0, waits=False)

    # -- groups ---------------------------------------------------------------------------------------------------

    def when_committed(self, run: RunRecord, call: Callable[[FlowctxError | None], None]) -> None:
        """Call when all that a run has written is committed, with why it was refused, if it was."""
        with self._own():
            self._awaiting.append((run.key.digest, call))
            if not self._writes:
                self._answer()

    def flush(self) -> None:
        """Commit what was put off; what is refused is told to its run, and nothing is raised."""
        with self._own():
            if self._writes:
                self._commit([])

    def close(self) -> None:
        """Commit what was put off, and let go of the connection."""
        self.flush()
        super().close()

    def _put_off(self, write: _Write, seconds: float, *, waits: bool) -> None:
        key, most_seconds = write.run, self._most_seconds()
        with self._own():
            self._raise_if_refused(key)
            now = time.monotonic()
            began = now - seconds
            self._since = min(self._since, began) if self._writes else began
            self._writes.append(write)
            is_old = now - self._since >= most_seconds and (waits or most_seconds > 0)
            if is_old or len(self._writes) >= _MOST_WRITES:
                self.flush()
                self._raise_if_refused(key)
            elif len(self._writes) == 1:
                self._watch()

    def _most_seconds(self) -> float:
        """Return how old the work may be that no commit stands for; of slow commits there are fewer."""
        if not self.seconds:
            return 0.0
        return max(self.seconds, min(_TIMES_AS_OLD * min(self._waited), _MOST_SECONDS))

    def _raise_if_refused(self, key: str) -> None:
        refusal = self._refused.pop(key, None)
        if refusal is not None:
            raise refusal

    def _commit(self, first: Sequence[_Write]) -> _Answers:
        """Do writes and after them what was put off, in one transaction, and return the answers to the former."""
        writes = [*first, *self._writes]
        self._writes = []
        try:
            answers = self._written(writes)
        except LedgerUnavailable as exc:
            answers = dict.fromkeys(range(len(writes)), exc)
        except FlowctxError:  # one of them is more than the database takes; which, is seen one by one
            answers = _done(writes, self._database.transaction)
        except BaseException:  # interrupted: to do a write twice is to do it once
            self._writes = [*writes[len(first) :], *self._writes]
            raise
        self._waited = (self._waited[1], self._database.waited_seconds)
        for number, write in enumerate(writes[len(first) :], len(first)):
            if isinstance(answers[number], FlowctxError):
                self._refused.setdefault(write.run, answers[number])
        self._answer()
        return answers

    def _written(self, writes: Sequence[_Write]) -> _Answers:
        """Do writes in one transaction: by a few statements, or one by one where anything is out of the ordinary."""
        if len(writes) > 1:
            group = _together(writes)
            try:
                begun = self._database.transaction(lambda at: group.write(at, self._database.now(at), self._owner))
                return {n: begun.get(w.run) if isinstance(w.part, Beginning) else None for n, w in enumerate(writes)}
            except LedgerUnavailable:
                raise
            except FlowctxError:
                pass  # whose it is, is seen now
        return self._database.transaction(lambda at: _done(writes, lambda work: work(at)))

    def _answer(self) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for key, call in awaiting:
            call(self._refused.pop(key, None))
        if awaiting:
            self.after_answers()

    # -- the thread -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._flush_in_time, name="flowctx-groups", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _flush_in_time(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._writes)
                late = time.monotonic() - self._since - self._most_seconds() - _GRACE_SECONDS
                if late >= 0:
                    self.flush()
                    continue
            time.sleep(-late)


def _together(writes: Sequence[_Write]) -> Together:
    group = Together()
    for write in writes:
        if isinstance(write.part, Beginning):
            group.begins.append(write.part)
        elif isinstance(write.part, Ending):
            group.ends.append(write.part)
        else:
            group.steps += write.part
    return group


def _done(writes: Sequence[_Write], do: Callable[[Callable[[Connection], Any]], Any]) -> _Answers:
    """Do writes; what is refused has written nothing, and nor has what follows it of the same run."""
    answers: _Answers = {}
    refused: dict[str, FlowctxError] = {}
    for number, write in enumerate(writes):
        try:
            answers[number] = refused.get(write.run) or do(write.work)
        except FlowctxError as exc:
            answers[number] = refused[write.run] = exc
    return answers
