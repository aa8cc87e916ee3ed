"""Which runs Airflow has of a partition, whatever became of them: what a task may ask, beyond the public interface.

From Airflow 3.2 on the id of a run tells its partition, if it is one of ours, or else the run itself does; before, the
logical date does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple

from flowctx.airflow._versions import AIRFLOW
from flowctx.airflow.partitions import id_text, id_text_of_run
from flowctx.airflow.run_order import Lane, instant_of, lanes_of
from flowctx.core.batches.records import may_run_one_of
from flowctx.core.errors import FlowctxError
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.scheme import PartitionScheme

#: So many runs are asked about at once: what is asked is part of a URL.
_AT_ONCE: Final = 100
#: Counts the runs of a DAG, by their ids or logical dates, and their states.
Count = Callable[..., Any]
#: States of runs that are still to make something.
TO_COME: Final = ("queued", "running")


class DagRuns(NamedTuple):
    """Runs of one DAG: those with these ids or logical dates, else all."""

    dag_id: str
    run_ids: tuple[str, ...] = ()
    logical_dates: tuple[datetime, ...] = ()

    def count(self, ask: Count, *states: str) -> int:
        """Return how many of them are in one of some states."""
        which = {"run_ids": list(self.run_ids)} if self.run_ids else {}
        dates = {"logical_dates": list(self.logical_dates)} if self.logical_dates else {}
        return int(ask(dag_id=self.dag_id, states=list(states), **which, **dates))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        dates = [date.isoformat() for date in self.logical_dates]
        return {"dag_id": self.dag_id, "run_ids": list(self.run_ids), "logical_dates": dates}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DagRuns:
        """Read :meth:`to_dict` back."""
        dates = tuple(map(datetime.fromisoformat, data["logical_dates"]))
        return cls(data["dag_id"], tuple(data["run_ids"]), dates)


def runs_of(
    ti: Any, dag_id: str, step: str, scheme: PartitionScheme, dimensions: Collection[str], keys: Iterable[PartitionKey]
) -> dict[PartitionKey, DagRuns]:
    """Return the runs that a DAG has or may have of some partitions.

    Args:
        ti: The task instance that asks.
        dag_id: The DAG.
        step: A step that its runs do.
        scheme: The scheme of the partitions.
        dimensions: Those of its dimensions that tell the DAG's runs apart.
        keys: The partitions.
    """
    of_runs = scheme.without(*(name for name in scheme.dimensions if name not in dimensions))
    if not AIRFLOW.able("partitioned runs"):
        lanes = _lanes(of_runs) if of_runs is not None else ()
        found = {key: _instant(lanes, of_runs, _text(scheme, dimensions, key)) for key in keys}
        return {key: DagRuns(dag_id, (), (instant,)) for key, instant in found.items() if instant is not None}
    texts = {key: _text(scheme, dimensions, key) for key in keys}
    by_text: dict[str, list[str]] = {}
    ids_that_tell_nothing: list[str] = []
    for run_id in ti.get_task_states(dag_id=dag_id, task_ids=[step]) or ti.get_task_states(dag_id=dag_id):
        if (text := id_text_of_run(run_id)) is not None:
            by_text.setdefault(text, []).append(run_id)
        elif may_run_one_of(run_id, texts.values()) is not False:
            ids_that_tell_nothing.append(run_id)
    for run in _open_or_failed(ti.get_dr_count, DagRuns(dag_id, tuple(ids_that_tell_nothing))):
        if of_runs is not None and (text := _text_of_run(run, of_runs)) is not None:
            by_text.setdefault(id_text(text), []).append(run.run_id)
    ids = {key: by_text.get(id_text(text), ()) for key, text in texts.items()}
    return {key: DagRuns(dag_id, tuple(some)) for key, some in ids.items() if some}


def together(runs: Iterable[DagRuns]) -> Iterator[DagRuns]:
    """Yield the same runs in few groups, each to be asked about at once."""
    by_dag: dict[str, set[tuple[str, datetime | None]]] = {}
    for one in runs:
        named = [(run_id, None) for run_id in one.run_ids]
        by_dag.setdefault(one.dag_id, set()).update(named or [("", date) for date in one.logical_dates])
    for dag_id, found in by_dag.items():
        rest = iter(sorted(found, key=str))
        while some := list(islice(rest, _AT_ONCE)):
            dates = tuple(date for _, date in some if date is not None)
            yield DagRuns(dag_id, () if dates else tuple(run_id for run_id, _ in some), dates)


def failed_runs(runs: DagRuns) -> Iterator[Any]:
    """Yield those of some runs that failed, as Airflow describes them."""
    from airflow.sdk.execution_time import comms, task_runner

    yield from _in_state(runs, "failed")
    for date in runs.logical_dates:
        after = date + timedelta(microseconds=1)
        question = comms.GetPreviousDagRun(dag_id=runs.dag_id, logical_date=after, state="failed")
        run = getattr(task_runner.SUPERVISOR_COMMS.send(question), "dag_run", None)
        if run is not None and run.logical_date == date:
            yield run


def _in_state(runs: DagRuns, *states: str) -> Iterator[Any]:
    """Yield those of some runs, which are named by their ids, that are in one of some states."""
    from airflow.sdk.execution_time import comms, task_runner

    for run_id in runs.run_ids:
        run = task_runner.SUPERVISOR_COMMS.send(comms.GetDagRun(dag_id=runs.dag_id, run_id=run_id))
        state = getattr(run, "state", None)
        if str(getattr(state, "value", state)) in states:
            yield run


def _open_or_failed(ask: Count, runs: DagRuns) -> Iterator[Any]:
    """Yield those of some runs that are still to make something, or have failed to."""
    states = (*TO_COME, "failed")
    for group in together([runs]):
        if group.count(ask, *states):
            yield from _in_state(group, *states)


def _text_of_run(run: Any, scheme: PartitionScheme) -> str | None:
    """Return the text of the key that a run is about, if it says one of the scheme's."""
    stated = run.partition_key or (run.conf or {}).get("partition")
    try:
        return scheme.text(scheme.check(stated if isinstance(stated, Mapping) else str(stated)))
    except FlowctxError:
        return None


def start_run(dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime | None) -> bool:
    """Start a run from within a task; return whether it is new: Airflow has each run id once.

    Raises:
        AirflowRuntimeError: Airflow does not start it.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import comms, task_runner

    wanted = comms.TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=dict(conf), logical_date=logical_date)
    try:
        answer = task_runner.SUPERVISOR_COMMS.send(wanted)
    except AirflowRuntimeError as exc:
        answer = exc.error
    if getattr(answer, "error", None) is ErrorType.DAGRUN_ALREADY_EXISTS:
        return False
    if isinstance(answer, comms.ErrorResponse):
        raise AirflowRuntimeError(answer)
    return True


def instant_of_key(scheme: PartitionScheme, text: str) -> datetime | None:
    """Return the instant that is a key's own, which tells the key of a run before Airflow 3.2."""
    return _instant(_lanes(scheme), scheme, text)


def _text(scheme: PartitionScheme, dimensions: Collection[str], key: PartitionKey) -> str:
    """Return the text of a key in the runs of a DAG, which may do several values of a dimension each."""
    parts = zip(scheme.dimensions, scheme.text(key).split("|"), strict=True)
    return "|".join(part for name, part in parts if name in dimensions)


@lru_cache(maxsize=32)
def _lanes(scheme: PartitionScheme) -> tuple[Lane, ...]:
    return tuple(lanes_of(scheme))


def _instant(lanes: tuple[Lane, ...], scheme: PartitionScheme | None, text: str) -> datetime | None:
    period = None if scheme is None else scheme.period(scheme.parse(text))
    if period is None:
        return None
    places = ((lane, lane.position_of(text, period)) for lane in lanes)
    return next((instant_of(lane.info(place)) for lane, place in places if place is not None), None)
