"""Dagster's own definition of a scheme has the scheme's keys and windows, and each key leads back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import deserialize_value, serialize_value
from hypothesis import given, settings

from adapters.dagster_schemes import KINDS, VALUES, schemes
from flowctx import (
    BusinessCalendar,
    ContextError,
    Daily,
    Hourly,
    Monthly,
    PartitionKey,
    PartitionScheme,
    Quarterly,
    UnknownPartition,
    Weekly,
)
from flowctx.dagster import workflow_contexts
from flowctx.dagster._compat import quiet
from flowctx.dagster.partitions import from_dagster_key, in_order, partition_keys, partitions_def, to_dagster_key

XNYS = PartitionScheme(
    date=Daily(start="2000-03-01", end="2013-03-01", calendar="XNYS", timezone="America/New_York"),
    symbol=["AAPL", "FB", "GOOG", "IBM", "MSFT"],
)
#: All kinds but hours, of which three decades are a quarter of a million.
DAYS = [kind for kind in KINDS if kind[0] is not Hourly]
WEEKS = PartitionScheme(week=Weekly(start="2012-01-01", end="2012-12-28"), tier=["T1", "T2"], venue=["NYSE", "N|Y"])


def same_windows(scheme: PartitionScheme, definition: dg.TimeWindowPartitionsDefinition, step: int = 1) -> None:
    """Compare as-of dates, windows and gaps between them with what Dagster has."""
    cadence = scheme.cadence
    keys = definition.get_partition_keys()
    found = [from_dagster_key(key, scheme)[scheme.cadence_dimension] for key in keys]
    assert found == [cadence.text(as_of) for as_of in cadence]
    for key, as_of in list(zip(keys, cadence, strict=True))[::step]:
        theirs, ours = definition.time_window_for_partition_key(key), cadence.window(as_of)
        assert (theirs.start.timestamp(), theirs.end.timestamp()) == (ours.start.timestamp(), ours.end.timestamp())


@settings(max_examples=60, deadline=None)
@given(schemes())
def test_keys_and_windows_are_the_schemes(scheme: PartitionScheme) -> None:
    """Every key of the scheme is one of Dagster's and back, and has the same window there."""
    definition = partitions_def(scheme)
    theirs, ours = definition.get_partition_keys(), list(scheme)
    assert sorted(theirs) == sorted(to_dagster_key(key, scheme) for key in ours)
    assert {from_dagster_key(str(text), scheme) for text in theirs} == set(ours)
    for key in ours[:: max(1, len(ours) // 10)]:
        window = definition.time_window_for_partition_key(to_dagster_key(key, scheme))
        assert (window.start.timestamp(), window.end.timestamp()) == tuple(t.timestamp() for t in scheme.window(key))


@pytest.mark.parametrize(
    ("calendar", "zone"),
    [("XNYS", "America/New_York"), ("XLON", "Europe/London"), ("XTKS", "Asia/Tokyo"), ("WEEKDAYS", "UTC")],
)
@pytest.mark.parametrize("kind", DAYS, ids=lambda kind: " ".join([kind[0].__name__, *kind[1].values()]))
def test_three_decades_are_the_same_in_dagster(calendar: str, zone: str, kind) -> None:
    """From 1995 (Tokyo: 1997) to 2026, all as-of dates and windows agree."""
    make, options = kind
    start = "1997-01-01" if calendar == "XTKS" else "1995-01-01"
    scheme = PartitionScheme(date=make(start=start, end="2026-06-30", calendar=calendar, timezone=zone, **options))
    same_windows(scheme, partitions_def(scheme), step=29)


def test_the_sessions_of_five_symbols_are_all_there() -> None:
    """XNYS from 2000-03-01 to 2013-03-01 by five symbols is 16,350 keys in Dagster too, in the same order."""
    keys = partitions_def(XNYS).get_partition_keys()
    assert len(keys) == 16_350
    assert list(keys) == [to_dagster_key(key, XNYS) for key in XNYS]


def test_closed_days_are_no_partitions() -> None:
    """The days after 2001-09-11 and of the storm in 2012 are not there, and Friday's window is one day."""
    definition = partitions_def(XNYS)
    for day in ("2001-09-11", "2001-09-14", "2012-10-29", "2012-10-30", "2012-10-27"):
        assert not definition.has_partition_key(f"{day}|IBM")
    friday = definition.time_window_for_partition_key("2012-10-26|IBM")
    assert friday.end - friday.start == timedelta(days=1)


def test_weeks_are_named_by_their_first_day_and_tile() -> None:
    """The week ending Friday 2012-01-13 is 2012-01-07 in Dagster, Saturday to Saturday, and none overlap."""
    definition = partitions_def(PartitionScheme(week=WEEKS.cadence))
    windows = [definition.time_window_for_partition_key(key) for key in definition.get_partition_keys()]
    assert windows[1].start.date() == date(2012, 1, 7)
    assert all(a.end == b.start for a, b in pairwise(windows))
    assert from_dagster_key("T2~N%7CY|2012-01-07", WEEKS) == {"week": "2012-01-13", "tier": "T2", "venue": "N|Y"}


def test_weeks_without_a_session_are_left_out() -> None:
    """Named by its last session, Tokyo's closed week of 2019-04-27 is no partition."""
    weeks = Weekly(start="2019-04-01", end="2019-06-01", calendar="XTKS", as_of="last_session", timezone="Asia/Tokyo")
    keys = partitions_def(PartitionScheme(week=weeks)).get_partition_keys()
    assert "2019-04-27" not in keys
    assert {"2019-04-20", "2019-05-04"} <= set(keys)


def test_a_cadence_without_an_end_grows_with_time() -> None:
    """Keys are there once their window has ended, as far as the calendar is known."""
    scheme = PartitionScheme(date=Daily(start="2026-01-01", calendar="XNYS", timezone="America/New_York"))
    definition = partitions_def(scheme)
    monday = datetime(2026, 1, 5, 23, tzinfo=timezone(timedelta(hours=-5)))
    assert definition.get_partition_keys(current_time=monday) == ["2026-01-02"]
    last = scheme.cadence.business_calendar.on_or_before(scheme.cadence.known_until)
    assert definition.end.date() == last + timedelta(days=1)


def test_what_goes_on_for_ever_has_no_end() -> None:
    """Where no calendar sets a limit there is no end in Dagster either."""
    assert partitions_def(PartitionScheme(date=Daily(start="2026-01-01", calendar="WEEKDAYS"))).end is None


def test_no_dates_are_no_partitions() -> None:
    """A weekend of a business calendar has no keys in Dagster either."""
    weekend = Daily(start="2026-01-03", end="2026-01-04", calendar="XNYS")
    assert partitions_def(PartitionScheme(date=weekend)).get_partition_keys() == []


def test_a_day_that_starts_at_one_has_its_window() -> None:
    """Where clocks skip midnight, key and window are those of the scheme."""
    scheme = PartitionScheme(date=Daily(start="2018-11-01", end="2018-11-06", timezone="America/Sao_Paulo"))
    same_windows(scheme, partitions_def(scheme))


@pytest.mark.parametrize("holidays", [[], ["2011-12-30"]])
def test_a_day_that_the_zone_left_out_is_refused(holidays: list[str]) -> None:
    """Dagster lists it all the same; the day after it is there, although Dagster takes the one for the other."""
    desk = BusinessCalendar.from_holidays("DESK", holidays, first="2011-01-01", last="2012-12-31", weekmask="MON-SUN")
    days = Daily(start="2011-12-28", end="2012-01-02", timezone="Pacific/Apia", calendar=desk)
    scheme = PartitionScheme(date=days)
    keys = partitions_def(scheme).get_partition_keys()
    assert [key for key in keys if key != "2011-12-30"] == [day.isoformat() for day in days]
    assert [to_dagster_key(key, scheme) for key in scheme.select()] == [day.isoformat() for day in days]
    with pytest.raises(UnknownPartition, match="no window of this scheme starts on 2011-12-30"):
        from_dagster_key("2011-12-30", scheme)


def test_no_scheme_is_no_definition() -> None:
    """Without a scheme there is nothing to define."""
    assert partitions_def(None) is None


def test_static_dimensions_are_folded_as_declared() -> None:
    """Static values are joined in the scheme's order, whatever their names are."""
    scheme = PartitionScheme(venue=["NYSE", "ARCA"], tier=["T1"])
    assert partitions_def(scheme).get_partition_keys() == ["NYSE~T1", "ARCA~T1"]
    assert from_dagster_key("ARCA~T1", scheme) == {"tier": "T1", "venue": "ARCA"}


@settings(max_examples=80, deadline=None)
@given(VALUES, VALUES)
def test_any_value_survives(tiers: list[str], venues: list[str]) -> None:
    """Whatever characters values have, Dagster takes their keys, and they lead back."""
    for scheme in (
        PartitionScheme(tier=tiers),
        PartitionScheme(date=Daily(start="2012-01-03", end="2012-01-03"), tier=tiers, venue=venues),
    ):
        definition = partitions_def(scheme)
        for key in scheme:
            assert definition.has_partition_key(to_dagster_key(key, scheme))
            assert from_dagster_key(str(to_dagster_key(key, scheme)), scheme) == key


@pytest.mark.parametrize("value", ["..", ".", "a...b", "a|b", "a,b", "[a]", "~", "%", "/", "../x", "Zürich"])
def test_values_that_dagster_or_a_file_system_would_refuse(value: str) -> None:
    """Such values are escaped: safe as the name of a file, and read back as they were."""
    scheme = PartitionScheme(date=Daily(start="2012-01-03", end="2012-01-03"), tier=[value])
    text = to_dagster_key(scheme[0], scheme).split("|")[1]
    assert Path("base", text).resolve().parent == Path("base").resolve()
    assert from_dagster_key(f"2012-01-03|{text}", scheme).tier == value


def test_the_daemon_and_the_ui_see_the_same_keys() -> None:
    """Written for other processes and read back, a definition has the same keys and windows."""
    asset = dg.asset(name="prices", partitions_def=partitions_def(WEEKS))(lambda: None)
    snap = RepositorySnap.from_def(dg.Definitions([asset]).get_repository_def())
    read = (
        deserialize_value(serialize_value(snap), RepositorySnap).asset_nodes[0].partitions.get_partitions_definition()
    )
    assert list(read.get_partition_keys()) == list(partitions_def(WEEKS).get_partition_keys())


def ask(scheme: PartitionScheme, question, tags: dict[str, str] | None = None, key: str | None = None) -> object:
    """Return what a question about its context gets as an answer inside a run of an asset."""
    found: list[object] = []

    def asset(context) -> None:
        found.append(question(context))

    policy = dg.BackfillPolicy.single_run()
    with quiet():
        made = dg.asset(name="asset", partitions_def=partitions_def(scheme), backfill_policy=policy)(asset)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([made], instance=instance, partition_key=key, tags=tags)
    return found[0]


def test_a_run_knows_its_key() -> None:
    """In an asset, Dagster's multi key becomes the scheme's key of three dimensions."""
    found = ask(WEEKS, lambda context: from_dagster_key(context, WEEKS), key="T1~N%7CY|2012-01-07")
    assert found == PartitionKey(week="2012-01-13", tier="T1", venue="N|Y")


@pytest.mark.parametrize("last", ["2012-10-26", "2012-10-31"])
def test_a_range_knows_its_keys(last: str) -> None:
    """A run over a range has a key for each session, also if it is just one."""
    days = PartitionScheme(date=XNYS.cadence)
    tags = {"dagster/asset_partition_range_start": "2012-10-26", "dagster/asset_partition_range_end": last}
    found = ask(days, lambda context: partition_keys(context, days), tags)
    assert found == list(days.select(f"date=2012-10-26..{last}"))


@pytest.mark.parametrize("ask_for", [partition_keys, lambda context, _: workflow_contexts(context)])
@pytest.mark.parametrize(
    ("dimensions", "ends"),
    [
        ({}, ("2012-10-26", "2012-10-27")),
        ({}, ("2012-10-27", "2012-10-31")),
        ({}, ("2012-10-27", "2012-10-27")),
        ({"venue": ["A", "B"]}, ("2012-10-26|A", "2012-10-27|A")),
    ],
    ids=["end", "start", "both", "two dimensions"],
)
def test_an_end_of_a_range_is_a_session(ask_for, dimensions, ends) -> None:
    """A range that ends or starts on no session is refused and names those around it; Dagster takes the next one."""
    days = PartitionScheme(date=XNYS.cadence, **dimensions)
    tags = dict(zip(("dagster/asset_partition_range_start", "dagster/asset_partition_range_end"), ends, strict=True))

    def question(context) -> str:
        with pytest.raises(UnknownPartition, match="sessions around it are 2012-10-26 and 2012-10-31") as caught:
            ask_for(context, days)
        return str(caught.value)

    assert "2012-10-27 is a Saturday" in str(ask(days, question, tags))


def test_a_range_is_not_one_key() -> None:
    """Asked for one key, a run over several says what to use instead."""
    days = PartitionScheme(date=XNYS.cadence)
    tags = {"dagster/asset_partition_range_start": "2012-10-26", "dagster/asset_partition_range_end": "2012-10-31"}

    def question(context) -> str:
        with pytest.raises(ContextError, match=r"2 partitions.*use partition_keys") as caught:
            from_dagster_key(context, days)
        return str(caught.value)

    assert "2012-10-31" in str(ask(days, question, tags))


@pytest.mark.needs("dagster", "partitioned assets in runs without a partition")
def test_a_run_without_a_partition_has_none() -> None:
    """Launched without a key, a run of a partitioned asset has no keys, and asked for one says so."""

    def question(context) -> list[PartitionKey]:
        with pytest.raises(ContextError, match="launched without a partition"):
            from_dagster_key(context, WEEKS)
        return partition_keys(context, WEEKS)

    assert ask(WEEKS, question) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("T1~NYSE|2012-01-13", r"first day of its window.*2012-01-07"),
        ("T1|2012-01-07", r"takes 2"),
        ("2012-01-07", r"no key of Dagster's.*<tier~venue>\|<week>"),
        ("2012-01-07|T1~NYSE", r"has no date.*<tier~venue>\|<week>"),
        ("T1~LSE|2012-01-07", "venue has no value 'LSE'"),
        ("T1~NYSE|2011-01-01", "2011-01-01"),
    ],
)
def test_a_key_of_something_else_is_refused(text: str, says: str) -> None:
    """What is no key of the scheme in Dagster's form is named, with what would be."""
    with pytest.raises(UnknownPartition, match=says):
        from_dagster_key(text, WEEKS)


@pytest.mark.parametrize(
    "cadence", [Monthly(start="2012-01-15", end="2012-03-31"), Quarterly(start="2012-02-01", end="2012-06-30")]
)
def test_months_and_quarters_start_with_their_first_day(cadence) -> None:
    """A period whose as-of date lies after the start begins with its first day."""
    assert partitions_def(PartitionScheme(period=cadence)).get_partition_keys()[0] == "2012-01-01"


def test_hours_have_their_offset_and_their_windows() -> None:
    """Over both changes of the clocks each hour is a partition of its own, and closed days have none."""
    for start in ("2026-03-07", "2026-10-31"):
        end = date.fromisoformat(start) + timedelta(days=2)
        hours = Hourly(start=start, end=end, timezone="America/New_York")
        same_windows(PartitionScheme(hour=hours), partitions_def(PartitionScheme(hour=hours)))
    sessions = Hourly(start="2025-11-26", end="2025-12-01", calendar="XNYS", timezone="America/New_York")
    keys = partitions_def(PartitionScheme(hour=sessions)).get_partition_keys()
    assert {key[:10] for key in keys} == {"2025-11-26", "2025-11-28", "2025-12-01"}
    assert (len(keys), keys[0]) == (72, "2025-11-26T00:00-0500")


def test_what_is_due_on_its_own_day_is_a_partition_of_that_day() -> None:
    """Today's key is there from the morning on, since it is due in the evening, and none is there after the end."""
    evening = Daily(start="2026-01-01", calendar="XNYS", timezone="America/New_York", due="17:00")
    now = datetime(2026, 1, 5, 9, tzinfo=timezone(timedelta(hours=-5)))
    assert partitions_def(PartitionScheme(date=evening)).get_partition_keys(current_time=now)[-1] == "2026-01-05"
    ended = partitions_def(PartitionScheme(date=replace(evening, end="2026-01-06")))
    assert ended.get_partition_keys() == ["2026-01-02", "2026-01-05", "2026-01-06"]
    assert not ended.has_partition_key("2026-01-07")


def test_keys_of_other_definitions_are_in_their_order() -> None:
    """Days come as they follow each other, however they are written, and values as they are defined."""
    days = dg.DailyPartitionsDefinition("31-01-2012", fmt="%d-%m-%Y")
    assert in_order(["01-02-2012", "31-01-2012"], days) == ["31-01-2012", "01-02-2012"]
    venues = dg.StaticPartitionsDefinition(["XNYS", "XLON", "XTKS"])
    assert in_order(["XTKS", "XLON"], venues) == ["XLON", "XTKS"]
    both = dg.MultiPartitionsDefinition({"venue": venues, "date": days})
    keys = ["01-02-2012|XLON", "31-01-2012|XTKS", "31-01-2012|XNYS"]
    assert in_order(keys, both) == ["31-01-2012|XNYS", "31-01-2012|XTKS", "01-02-2012|XLON"]
    assert in_order(["b", "a"], dg.DynamicPartitionsDefinition(name="users")) == ["a", "b"]
