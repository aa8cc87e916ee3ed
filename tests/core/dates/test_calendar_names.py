"""What a calendar of your own may be called."""

import pickle
from datetime import date

import pytest

from flowctx import BusinessCalendar, CalendarError, Daily, Hourly, PartitionScheme, Weekly, get_calendar
from flowctx.core.dates.calendar_names import OF_EXCHANGES, check_calendar_name, check_own_name, library_name
from flowctx.core.dates.windows import Cadence
from flowctx.core.partitions.mapping import PartitionMapping, same_dates


def test_the_names_that_are_taken_are_those_of_the_library():
    """The list is written down, since to import the library takes a second."""
    from exchange_calendars.calendar_utils import global_calendar_dispatcher

    assert set(global_calendar_dispatcher.get_calendar_names(include_aliases=True)) == OF_EXCHANGES
    assert {name: library_name(name) for name in OF_EXCHANGES} == {
        name: global_calendar_dispatcher.resolve_alias(name) for name in OF_EXCHANGES
    }


@pytest.mark.parametrize("kind", [Daily, Hourly, Weekly])
def test_an_alias_is_the_calendar_that_it_names(kind):
    """Cadences are equal and have the same dates whichever name a calendar is given by, or written down with."""
    named, alias = (kind(start="2026-01-02", calendar=name) for name in ("XNYS", "NYSE"))
    assert alias == named == kind(start="2026-01-02", calendar=get_calendar("NYSE"))
    assert hash(alias) == hash(named)
    assert same_dates(alias, named)
    assert Cadence.from_dict(alias.to_dict() | {"calendar": "NYSE"}) == named
    upstream, downstream = PartitionScheme(date=alias), PartitionScheme(date=named)
    assert PartitionMapping(upstream, downstream).one
    assert named != kind(start="2026-01-02", calendar="LSE")


def test_a_calendar_of_your_own_that_was_written_with_such_a_name_is_read():
    """What an earlier version wrote stays what it is."""
    written = BusinessCalendar.from_holidays("DESK", ["2012-10-29"]).to_dict() | {"name": "XNYS"}
    found = BusinessCalendar.from_dict(written)
    assert (found.name, found.is_session(date(2012, 10, 29))) == ("XNYS", False)
    assert BusinessCalendar.from_dict(found.to_dict()) == found == pickle.loads(pickle.dumps(found))


def test_names_of_calendars_that_are_there_are_refused():
    """A correction of one keeps its name; one of your own has another."""
    for name in ("EVERY_DAY", "WEEKDAYS", *OF_EXCHANGES):
        assert check_calendar_name(name) == name
        with pytest.raises(CalendarError, match="another name="):
            check_own_name(name)
