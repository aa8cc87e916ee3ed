"""A week takes in its own sessions: in runs exactly, and in Dagster's daemon without harm."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._serdes import deserialize_value, serialize_value
from dagster._time import get_current_timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.dagster_schemes import CALENDARS, ZONES
from adapters.dagster_support import persistent_instance
from flowctx import Daily, Hourly, Monthly, PartitionError, PartitionScheme, Quarterly, Weekly, Yearly
from flowctx.core.dates.calendar import get_calendar
from flowctx.dagster.mappings import partition_mapping
from flowctx.dagster.partitions import from_dagster_key, partitions_def, to_dagster_key

SYMBOLS = ["A", "B"]
SUNDAYS = Weekly(start="2012-01-01", ends_on="SUN")


def days(**static) -> PartitionScheme:
    """Sessions of a year, from a Tuesday on."""
    dates = Daily(start="2012-01-03", end="2013-01-04", calendar="XNYS", timezone="America/New_York")
    return PartitionScheme(date=dates, **static)


def weeks(**static) -> PartitionScheme:
    """The weeks of the same year; the first starts before the first session."""
    ends = Weekly(start="2012-01-06", end="2013-01-04", timezone="America/New_York")
    return PartitionScheme(week=ends, **static)


class Keys(dg.IOManager):
    """Gives an asset the keys that it would load, instead of their values."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Keep nothing."""

    def load_input(self, context: dg.InputContext) -> list[str]:
        """Return the keys."""
        return sorted(context.asset_partition_keys)


def assets(upstream: PartitionScheme, downstream: PartitionScheme, seen: dict) -> list[dg.AssetsDefinition]:
    """An asset of each scheme, the second of which depends on the first and says what it is given."""

    def fine() -> None:
        """Make nothing."""

    def coarse(context, fine) -> None:
        seen[context.partition_key] = fine

    load = dg.AssetIn("fine", partition_mapping=partition_mapping(upstream, downstream))
    return [
        dg.asset(name="fine", partitions_def=partitions_def(upstream))(fine),
        dg.asset(name="coarse", partitions_def=partitions_def(downstream), ins={"fine": load})(coarse),
    ]


def loaded(upstream: PartitionScheme, downstream: PartitionScheme, key: Mapping[str, str]) -> list[Mapping[str, str]]:
    """Return what a real run for a key of the coarser scheme loads, as keys of the finer one."""
    seen: dict[str, list[str]] = {}
    both = assets(upstream, downstream, seen)
    at = to_dagster_key(key, downstream)
    dg.materialize(both, selection=both[1:], partition_key=at, resources={"io_manager": Keys()})
    return [dict(from_dagster_key(text, upstream)) for text in seen[at]]


def dates_of(upstream: PartitionScheme, downstream: PartitionScheme, as_of: date) -> list[str]:
    """Return the dates that a coarser partition takes in, straight from the mapping."""
    up, down = partitions_def(upstream), partitions_def(downstream)
    wanted = down.empty_subset().with_partition_keys([downstream.cadence.window(as_of).start.date().isoformat()])
    found = partition_mapping(upstream, downstream).get_upstream_mapped_partitions_result_for_partitions(
        wanted, down, up
    )
    return [from_dagster_key(text, upstream).date for text in sorted(found.partitions_subset.get_partition_keys())]


def test_a_week_loads_its_own_sessions() -> None:
    """The week of the storm loads its three sessions, and not the Friday before it."""
    found = loaded(days(), weeks(), {"week": "2012-11-02"})
    assert [key["date"] for key in found] == ["2012-10-31", "2012-11-01", "2012-11-02"]


@pytest.mark.parametrize(("given", "first"), [(True, "2012-10-22"), (False, "2012-10-19")])
def test_a_week_of_dagsters_own_takes_the_mapping_of_a_scheme(given: bool, first: str) -> None:
    """Its windows are those of the scheme; by Dagster's own mapping it has the session before them, too."""
    seen: dict[str, list[str]] = {}
    sundays = PartitionScheme(week=Weekly(start="2012-01-07", ends_on="SAT", timezone="America/New_York"))
    load = dg.AssetIn("fine", partition_mapping=partition_mapping(days(), sundays) if given else None)
    plain = dg.WeeklyPartitionsDefinition("2012-01-01", timezone="America/New_York")

    def coarse(context, fine) -> None:
        seen[context.partition_key] = fine

    dg.materialize(
        [assets(days(), weeks(), {})[0], dg.asset(partitions_def=plain, ins={"fine": load})(coarse)],
        partition_key="2012-10-21",
        selection=["coarse"],
        resources={"io_manager": Keys()},
    )
    assert (seen["2012-10-21"][0], seen["2012-10-21"][-1]) == (first, "2012-10-26")


def test_the_first_week_loads_what_there_is() -> None:
    """A week that starts before the first session loads those from it on."""
    found = loaded(days(), weeks(), {"week": "2012-01-06"})
    assert [key["date"] for key in found] == ["2012-01-03", "2012-01-04", "2012-01-05", "2012-01-06"]


def test_a_week_of_a_symbol_loads_that_symbol() -> None:
    """By date and symbol, a week takes in its own symbol's sessions."""
    found = loaded(days(symbol=SYMBOLS), weeks(symbol=SYMBOLS), {"week": "2012-11-02", "symbol": "B"})
    assert [(key["date"], key["symbol"]) for key in found] == [
        ("2012-10-31", "B"),
        ("2012-11-01", "B"),
        ("2012-11-02", "B"),
    ]


def test_a_week_without_a_symbol_loads_all_of_them() -> None:
    """A dimension that only the upstream has is taken in whole."""
    found = loaded(days(symbol=SYMBOLS), weeks(), {"week": "2012-11-02"})
    assert len(found) == 6
    assert {key["symbol"] for key in found} == {"A", "B"}


def test_every_symbol_loads_days_without_one() -> None:
    """A dimension that only the downstream has takes in the same days for each value."""
    found = loaded(days(), weeks(symbol=SYMBOLS), {"week": "2012-11-02", "symbol": "A"})
    assert [key["date"] for key in found] == ["2012-10-31", "2012-11-01", "2012-11-02"]


def test_folded_dimensions_match_by_name() -> None:
    """Of three dimensions against three others, those with the same name match by value, in any order."""
    upstream = days(venue=["x", "y"], tier=["T1", "T2"])
    downstream = weeks(tier=["T2", "T1"], desk=["d"])
    found = loaded(upstream, downstream, {"week": "2012-11-02", "tier": "T2", "desk": "d"})
    assert len(found) == 6
    assert {(key["tier"], key["venue"]) for key in found} == {("T2", "x"), ("T2", "y")}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_windows_take_in_the_sessions_inside_them(data) -> None:
    """For any calendar, zone and period, and at the edges too, as-of dates inside a window are what it takes in."""
    calendar, zone = data.draw(st.sampled_from(CALENDARS)), data.draw(st.sampled_from(ZONES))
    start = data.draw(st.dates(max(date(1995, 1, 1), get_calendar(calendar).first), date(2025, 6, 30)))
    coarse = data.draw(st.sampled_from([Weekly, Monthly, Quarterly, Yearly]))
    named = data.draw(st.sampled_from(["period_end", "last_session"]))
    end = date.fromordinal(start.toordinal() + data.draw(st.integers(100, 300)))
    shared = {"calendar": calendar, "timezone": zone}
    upstream = PartitionScheme(date=Daily(start=start, end=end, **shared))
    downstream = PartitionScheme(period=coarse(start=start, end=end, as_of=named, **shared))
    for as_of in downstream.cadence:
        window = downstream.cadence.window(as_of)
        inside = [d.isoformat() for d in upstream.cadence if window.start.date() <= d < window.end.date()]
        assert dates_of(upstream, downstream, as_of) == inside


def test_a_quarter_takes_in_its_months() -> None:
    """Months lie in quarters as days do."""
    months = PartitionScheme(date=Monthly(start="2012-01-01", end="2012-12-31"))
    quarters = PartitionScheme(quarter=Quarterly(start="2012-01-01", end="2012-12-31"))
    assert dates_of(months, quarters, date(2012, 6, 30)) == ["2012-04-30", "2012-05-31", "2012-06-30"]


def test_a_session_leads_to_its_own_week() -> None:
    """Downstream of a Friday is the week that it ends, also where Dagster leaves the next one out."""
    tokyo = {"calendar": "XTKS", "timezone": "Asia/Tokyo"}
    upstream = PartitionScheme(date=Daily(start="2019-04-01", end="2019-06-01", timezone="Asia/Tokyo"))
    downstream = PartitionScheme(week=Weekly(start="2019-04-01", end="2019-06-01", as_of="last_session", **tokyo))
    up, down = partitions_def(upstream), partitions_def(downstream)
    mapping = partition_mapping(upstream, downstream)
    found = {
        day: list(
            mapping.get_downstream_partitions_for_partitions(
                up.empty_subset().with_partition_keys([day]), up, down
            ).get_partition_keys()
        )
        for day in ("2019-04-26", "2019-04-30", "2019-05-07")
    }
    assert found == {"2019-04-26": ["2019-04-20"], "2019-04-30": [], "2019-05-07": ["2019-05-04"]}


def test_one_scheme_maps_to_itself() -> None:
    """Assets of one scheme depend on each other key by key."""
    assert partition_mapping(days(symbol=SYMBOLS), days(symbol=SYMBOLS)) == dg.IdentityPartitionMapping()


@pytest.mark.parametrize(
    ("upstream", "downstream", "says"),
    [
        (weeks(), days(), "finer to coarser"),
        (weeks(), PartitionScheme(month=Monthly(start="2012-01-01", timezone="America/New_York")), "do not lie in"),
        (
            weeks(),
            PartitionScheme(w=Weekly(start="2012-01-01", ends_on="SUN", timezone="America/New_York")),
            "do not lie",
        ),
        (days(), PartitionScheme(week=Weekly(start="2012-01-01")), "one timezone"),
        (days(tier=["T1"], venue=["x"]), PartitionScheme(tier=["T1"]), "give both schemes the same static"),
    ],
)
def test_what_does_not_fit_is_refused(upstream: PartitionScheme, downstream: PartitionScheme, says: str) -> None:
    """Windows that do not nest, other zones, and what Dagster cannot say are refused with the remedy."""
    with pytest.raises(PartitionError, match=says):
        partition_mapping(upstream, downstream)


@pytest.mark.parametrize(
    ("upstream", "downstream"),
    [(days(), weeks()), (days(symbol=SYMBOLS), weeks(symbol=SYMBOLS)), (days(symbol=SYMBOLS), weeks())],
    ids=["one", "two", "two to one"],
)
def test_other_processes_read_a_mapping_of_dagsters_own(upstream: PartitionScheme, downstream: PartitionScheme) -> None:
    """Defined without a warning, a mapping is written and read back as one that Dagster ships."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        defs = dg.Definitions(assets(upstream, downstream, {}), resources={"io_manager": Keys()})
    snap = deserialize_value(serialize_value(RepositorySnap.from_def(defs.get_repository_def())), RepositorySnap)
    (edge,) = [edge for node in snap.asset_nodes for edge in node.parent_edges]
    assert type(edge.partition_mapping).__module__.startswith("dagster.")


BACKFILL = """
import pathlib
import dagster as dg
from adapters.test_dagster_mappings import Keys, days, weeks
from flowctx.dagster.mappings import partition_mapping
from flowctx.dagster.partitions import partitions_def

up, down = days(symbol=["A", "B"]), weeks(symbol=["A", "B"])

@dg.asset(partitions_def=partitions_def(up))
def fine(): ...

@dg.asset(
    partitions_def=partitions_def(down),
    ins={"fine": dg.AssetIn("fine", partition_mapping=partition_mapping(up, down))},
)
def coarse(context, fine):
    (pathlib.Path(__file__).parent / context.partition_key).write_text(" ".join(fine))

defs = dg.Definitions([fine, coarse], resources={"io_manager": Keys()}, executor=dg.in_process_executor)
"""

IN_MEMORY = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
}


@pytest.mark.filterwarnings("ignore:Non-compliant tag keys", "ignore:Function `AssetSelection.sources`")
def test_a_backfill_of_days_and_their_week_ends(tmp_path: Path) -> None:
    """Dagster's own backfill of both, the first week included, runs each key and loads the right sessions."""
    (tmp_path / "definitions.py").write_text(BACKFILL)
    place = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(tmp_path / "definitions.py"))
    target = InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(place, location_name="tests"))
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with (
        persistent_instance(tmp_path / "home", IN_MEMORY) as instance,
        WorkspaceProcessContext(instance, target) as workspace,
    ):
        backfill = PartitionBackfill.from_asset_partitions(
            asset_graph=workspace.create_request_context().asset_graph,
            backfill_id="mapping",
            tags={},
            backfill_timestamp=get_current_timestamp(),
            asset_selection=[dg.AssetKey("fine"), dg.AssetKey("coarse")],
            partition_names=[f"2012-01-0{day}|A" for day in (3, 4, 5, 6)],
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)
        for _ in range(10):
            list(execute_backfill_iteration(workspace, logging.getLogger("tests")))
            if instance.get_backfill("mapping").status != BulkActionStatus.REQUESTED:
                break
        assert instance.get_backfill("mapping").status == BulkActionStatus.COMPLETED_SUCCESS
    assert (tmp_path / "A|2011-12-31").read_text().split() == [f"2012-01-0{day}|A" for day in (3, 4, 5, 6)]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-03-09", 24), ("2025-11-02", 25)])
def test_a_day_takes_in_its_hours(day: str, hours: int) -> None:
    """However many hours a day has, those that lie in it are taken in, each once."""
    shared = {"timezone": "America/New_York"}
    upstream = PartitionScheme(date=Hourly(start="2025-11-01", end="2026-03-10", **shared))
    downstream = PartitionScheme(period=Daily(start="2025-11-01", end="2026-03-10", **shared))
    found = dates_of(upstream, downstream, date.fromisoformat(day))
    assert found == [key.date for key in upstream.select(f"date={day}")]
    assert len(set(found)) == hours


def test_fiscal_years_take_in_what_ends_with_them() -> None:
    """A year to June takes in its quarters; one to May takes in months, but no quarters and no years to June."""
    june, may = (
        PartitionScheme(period=Yearly(start="2012-01-01", end="2013-12-31", ends_in=m)) for m in ("JUN", "MAY")
    )
    quarters = PartitionScheme(date=Quarterly(start="2011-01-01", end="2013-12-31"))
    assert dates_of(quarters, june, date(2012, 6, 30)) == ["2011-09-30", "2011-12-31", "2012-03-31", "2012-06-30"]
    months = PartitionScheme(date=Monthly(start="2011-01-01", end="2013-12-31"))
    assert len(dates_of(months, may, date(2012, 5, 31))) == 12
    for upstream, downstream in ((quarters, may), (june, may)):
        with pytest.raises(PartitionError, match="do not lie in windows"):
            partition_mapping(upstream, downstream)
