"""Run the same partitions here and on engines, and compare: what a team does that moves from one engine to another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from shutil import copytree, disk_usage
from types import MappingProxyType
from typing import Any, Final

from flowctx.core.batches.launcher import Launcher
from flowctx.core.durability.ledger import Ledger
from flowctx.core.errors import EngineError, FlowctxError, LedgerError, PartitionError, PayloadError
from flowctx.core.partitions.due_selection import selected
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.partitions.selection import Selection
from flowctx.core.temporary_files import having_room, no_room
from flowctx.core.workflow.definition import Workflow, check_workflow
from flowctx.core.workflow.names import listed
from flowctx.ledger import open_ledger
from flowctx.parity.comparing import AGAIN, Comparer, Parity
from flowctx.parity.recorded import Place, Recorded
from flowctx.parity.running import (
    BATCH,
    ENGINES,
    Work,
    check_engines,
    ledger_url,
    prepare_ledger,
    run_side,
    scratch_environment,
)
from flowctx.parity.scratch import copy_inputs
from flowctx.parity.servers import check_servers, launch
from flowctx.parity.shown import report
from flowctx.versions.changes import Tolerance
from flowctx.versions.choosing import refuse_selection, required_ledger

#: Where no more bytes are free, what failed lacked room: a ledger alone takes as much.
_LITTLE_ROOM: Final = 1 << 20
#: Runs the work of all sides, each in its folder, and returns what could not begin, by the folder's name.
RunSides = Callable[[Work, Mapping[str, tuple[str, Path]]], Mapping[str, Mapping[PartitionKey | None, str]]]


def verify(
    workflow: Workflow,
    select: Selection | str | None = None,
    *,
    until: date | str | None = None,
    on: Sequence[str] = ENGINES,
    params: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
    key: Sequence[str] = (),
    atol: float = 0.0,
    rtol: float = 0.0,
    ledger: Ledger | str | None = None,
    run_sides: RunSides | None = None,
    servers: Mapping[str, Launcher] = MappingProxyType({}),
) -> Parity:
    """Run partitions here, here again, and on engines with real tasks of theirs, and return what differs.

    Each side has a ledger and artifacts of its own in a temporary folder, so that nothing of the user's is written:
    what the partitions read of others is copied from the user's ledger first. Two runs here tell steps apart that are
    not deterministic.

    Args:
        workflow: The workflow.
        select: Which partitions, such as ``"date=last:5"``, the latest that are due; a workflow without partitions
            needs none.
        until: The last as-of date: what is selected after it is left out.
        on: The engine, or engines: ``airflow``, ``dagster``.
        params: Parameters on top of the workflow's own.
        ignore: Steps, or values such as ``fetch.loaded_at``, that may differ.
        key: The column, or columns, that say which rows of a table are one and the same; without them, the position.
        atol: Numbers that differ by no more are equal.
        rtol: Numbers that differ by no more than this part of the engine's are equal.
        ledger: Where outputs are that the partitions read, or its URL; by default what ``FLOWCTX_LEDGER_URL`` names.
        run_sides: How the sides are run; by default one after the other in this process.
        servers: What launches runs on servers, for engines that are to be compared as they run there. Their runs are
            recorded in the servers' own ledger, which is to be ``ledger`` and has to be one for tests.

    Raises:
        BatchError: Runs on a server would supersede captures in its ledger.
        PartitionError: No partitions are selected.
        WorkflowError: What may differ is no step, or in no output of one.
        PlainDataError: No table has a column of the key.
        MissingExtra: An engine is not installed.
        InputMissing: The ledger does not have what is read.
        EngineError: An engine refuses to run anything here.

    Example:
        ::

            verify(nav, "date=last:5", on=["airflow"]).equal
    """
    check_engines(on := listed(on), servers)
    workflow.params_with(params)
    work = Work(workflow=check_workflow(workflow), keys=_keys(workflow, select, until), params=params or {})
    how = Tolerance(atol=atol, rtol=rtol, key=tuple(listed(key)))
    comparer = Comparer(workflow=workflow, how=how, ignore=listed(ignore))
    if servers:
        check_servers(work, required_ledger(ledger))
    with _temporary_folder() as root:
        (inputs := Path(root, "inputs")).mkdir()
        prepare_ledger(inputs)  # once: a new database for each side takes longer than to copy one
        copy_inputs(work, ledger, inputs)
        sides = {name: (name, Path(root, name)) for name in dict.fromkeys(on) if name not in servers}
        sides = {"here": ("local", Path(root, "here")), AGAIN: ("local", Path(root, "again")), **sides}
        for _, folder in sides.values():
            copytree(inputs, folder)
        problems = (run_sides or run_here)(work, sides)
        places = {name: _place(folder) for name, (_, folder) in sides.items()}
        try:
            for name, launcher in servers.items():
                there = required_ledger(ledger)
                places[name] = Place.of(there, launch(work, launcher, there))
            return _compare(work, comparer, places, problems)
        finally:
            for name in sides:
                places[name].ledger.close()


def assert_parity(workflow: Workflow, select: Selection | str | None = None, **how: Any) -> Parity:
    """Assert that partitions come out equal here and on engines: for tests of your own workflows.

    Args:
        workflow: The workflow.
        select: Which partitions.
        how: What :func:`verify` takes: ``on=``, ``params=``, ``ignore=``, ``atol=``, …

    Raises:
        AssertionError: Something differs; the message names the first step of each partition, and what.

    Example:
        ::

            def test_engines_agree():
                assert_parity(nav, "date=2026-01-05..2026-01-09", on=["dagster"])
    """
    found = verify(workflow, select, **how)
    if not found.equal:
        raise AssertionError(report(found))
    return found


def run_here(work: Work, sides: Mapping[str, tuple[str, Path]]) -> Mapping[str, Mapping[PartitionKey | None, str]]:
    """Run the sides in this process, one after the other."""
    return {name: run_side(work, engine, folder) for name, (engine, folder) in sides.items()}


def with_dates(workflow: Workflow, text: str) -> str:
    """Return the text of a selection; ``last:5`` alone can only mean dates."""
    dated = workflow.partitions.cadence_dimension if workflow.partitions is not None else None
    return f"{dated}={text}" if dated is not None and text.startswith("last:") else text


def _keys(
    workflow: Workflow, select: Selection | str | None, until: date | str | None
) -> Sequence[PartitionKey | None]:
    """Return the partitions that are meant, earlier dates first: later ones may read them."""
    scheme = workflow.partitions
    if scheme is None:
        refuse_selection(workflow, select, until)
        return [None]
    if select is None:
        example = f"{scheme.cadence_dimension}=last:5" if scheme.cadence_dimension else f"{scheme.dimensions[0]}=…"
        raise PartitionError(f"say which partitions of {workflow.name!r} are compared: select={example!r} (--select)")
    found = selected(scheme, with_dates(workflow, select) if isinstance(select, str) else select, until)
    for key in found:
        scheme.check_due(key, datetime.now(UTC))
    return sorted(found, key=lambda key: (scheme.as_of_date(key) or date.min, scheme.path_of(key)))


def _place(folder: Path) -> Place:
    with scratch_environment(folder):
        return Place.of(open_ledger(ledger_url(folder)), BATCH)


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Make a folder that is gone afterwards; say so if it has no room, whatever fails for that.

    Raises:
        FlowctxError: There is no room.
    """
    with having_room():
        folder = tempfile.TemporaryDirectory(prefix="flowctx-parity-")
    with folder as path:
        try:
            yield path
        except (OSError, EngineError, LedgerError, PayloadError) as exc:
            free = disk_usage(path).free
            if free > _LITTLE_ROOM:
                raise
            raise FlowctxError(no_room(f"{free:,} bytes are free")) from exc


def _compare(
    work: Work,
    comparer: Comparer,
    places: Mapping[str, Place],
    problems: Mapping[str, Mapping[PartitionKey | None, str]],
) -> Parity:
    """Compare what the sides recorded.

    Args:
        work: What ran.
        comparer: How it is compared.
        places: Where each side recorded its runs, those of the two runs here first.
        problems: Why sides could not begin partitions, of those that could not.
    """
    engines = tuple(name for name in places if name not in ("here", AGAIN))
    found = Parity(workflow=work.workflow.name, engines=engines)
    names: dict[str, set[str]] = {}
    for key in work.keys:
        here, again, *there = (Recorded.of(place, work.workflow, key) for place in places.values())
        assert here.run is not None  # noqa: S101 - a run here that cannot begin raises
        found.statuses[str(here.run.status)] += 1
        if here.why is not None:
            found.reasons[here.why] += 1
        sides = dict(zip(engines, there, strict=True))
        why = {name: some[key] for name, some in problems.items() if key in some}
        found.disagreements += comparer.disagreements(key, here, again, sides, why)
        for step, output in here.outputs.items():
            names.setdefault(step, set()).update(output)
    comparer.check_names(names)
    return found
