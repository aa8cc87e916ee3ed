"""Corrections of calendars, by code and by file, and their closing times."""

import pickle
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from flowctx import BusinessCalendar, CalendarError, Daily, PartitionScheme, Workflow, run
from flowctx.calendars import check_corrections, load_calendar
from flowctx.core.dates.calendar import WEEKDAYS, get_calendar

TYPHOON, SATURDAY = date(2026, 9, 10), date(2026, 9, 12)


@pytest.fixture
def corrections(tmp_path, monkeypatch):
    """Set a file of corrections with this text, and forget calendars that are loaded."""

    def write(text: str) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))  # a process reads each file once
        folder.mkdir()
        path = folder / "calendars.toml"
        path.write_text(text)
        monkeypatch.setenv("FLOWCTX_CALENDARS", str(path))
        return path

    return write


def test_days_are_closed_and_opened_after_all():
    """A corrected calendar has the days, the other one stays as it is, and the versions tell them apart."""
    hong_kong = get_calendar("XHKG")
    made = hong_kong.with_holidays([TYPHOON], version="typhoon").with_sessions(["2026-09-12"])
    assert (made.is_session(TYPHOON), made.is_session(SATURDAY)) == (False, True)
    assert (hong_kong.is_session(TYPHOON), hong_kong.is_session(SATURDAY)) == (True, False)
    assert made.name == "XHKG"
    assert made.version.startswith(f"{hong_kong.version}+typhoon+corrected.")
    assert made != hong_kong
    assert BusinessCalendar.from_dict(made.to_dict()) == made == pickle.loads(pickle.dumps(made))


def test_the_version_of_a_correction_reaches_the_metadata():
    """ctx.metadata says which edition of the calendar the run was made with."""
    made = get_calendar("XHKG").with_holidays([TYPHOON], version="typhoon")
    flow = Workflow("f", partitions=PartitionScheme(date=Daily(start="2026-09-01", end="2026-09-30", calendar=made)))
    flow.step(name="s")(lambda ctx: {"calendar": ctx.metadata["calendar"]})
    found = run(flow, partition={"date": "2026-09-11"}).context.get_output("s")
    assert found["calendar"] == {"name": "XHKG", "version": made.version}


def test_a_calendar_that_ends_can_be_made_longer():
    """Sessions of the next year, with the day until which they are known, go on where the library ends."""
    shanghai = get_calendar("XSHG")
    assert shanghai.last == date(2026, 12, 31)
    longer = shanghai.with_sessions(["2027-01-04", "2027-01-05"], last="2027-01-10")
    assert (longer.last, longer.next(date(2026, 12, 31))) == (date(2027, 1, 10), date(2027, 1, 4))
    assert not longer.is_session(date(2027, 1, 6))
    with pytest.raises(CalendarError, match="2027-01-04 is outside the calendar XSHG"):
        shanghai.with_sessions(["2027-01-04"])


def test_closing_times_are_those_of_the_exchange():
    """Half days, clocks that change and corrections are in the closing time."""
    new_york = get_calendar("XNYS")
    closes = [new_york.close(date.fromisoformat(day)).isoformat() for day in ("2026-03-06", "2026-03-09", "2026-11-27")]
    assert closes == ["2026-03-06T16:00:00-05:00", "2026-03-09T16:00:00-04:00", "2026-11-27T13:00:00-05:00"]
    assert [new_york.closes_early(date(2026, 11, day)) for day in (25, 27)] == [False, True]
    assert new_york.with_closes({"2026-11-25": "12:30"}).closes_early(date(2026, 11, 25))
    assert get_calendar("24/7").close(date(2026, 1, 1)).isoformat() == "2026-01-02T00:00:00+00:00"
    with pytest.raises(CalendarError, match="is a holiday in XNYS"):
        new_york.close(date(2026, 11, 26))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (lambda: WEEKDAYS.with_holidays(["2026-01-01"]), "has no bounds and cannot be corrected; make one of your own"),
        (lambda: get_calendar("XNYS").with_holidays(["2050-01-01"]), "outside the calendar XNYS"),
        (lambda: get_calendar("XNYS").with_closes({"2026-11-26": "12:00"}), "is a holiday in XNYS"),
        (lambda: get_calendar("XNYS").with_closes({"2026-11-27": "1pm"}), "write it as HH:MM"),
        (lambda: WEEKDAYS.close(date(2026, 1, 1)), "WEEKDAYS has no closing times; give it some"),
        (lambda: BusinessCalendar.from_holidays("D", ["2026-01-01"], close="16:00"), "needs close= and timezone="),
        (lambda: BusinessCalendar.from_sessions("D", ["2026-01-02"]).with_holidays(["2026-01-02"]), "no session left"),
    ],
)
def test_what_cannot_be_is_refused(wrong, remedy):
    """The message says what to do instead."""
    with pytest.raises(CalendarError, match=remedy):
        wrong()


def test_a_file_corrects_calendars_by_name(corrections):
    """Whoever loads the calendar by its name, or by an alias, gets it as the file has it, with the file's version."""
    corrections(
        """
        [XHKG]
        version = "desk-7"
        holidays = [2026-09-10]
        sessions = ["2026-09-12", "2040-01-03"]
        last = "2040-01-31"
        closes = { "2026-12-24" = "11:30" }
        """
    )
    made = load_calendar("XHKG")
    assert (made.is_session(TYPHOON), made.is_session(SATURDAY)) == (False, True)
    assert made.close(date(2026, 12, 24)).isoformat() == "2026-12-24T11:30:00+08:00"
    assert (made.last, made.version.rpartition("+")[2]) == (date(2040, 1, 31), "desk-7")
    assert made.to_dict() == {"name": "XHKG", "version": made.version}
    assert load_calendar("XNYS").version.count("+") == 1


def test_a_process_reads_the_file_once(corrections):
    """One that goes on has one edition of all calendars, whichever it has looked at before; a fresh one has the new."""
    path = corrections("")
    assert load_calendar("XHKG").is_session(TYPHOON)
    path.write_text(f'[XHKG]\nholidays = ["{TYPHOON}"]\n[XTKS]\nholidays = ["{TYPHOON}"]')
    assert [load_calendar(name).is_session(TYPHOON) for name in ("XHKG", "XTKS")] == [True, True]
    code = (
        "from datetime import date\n"
        "from flowctx import get_calendar\n"
        "print(get_calendar('XTKS').is_session(date(2026, 9, 10)))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_file_without_version_has_that_of_its_content(corrections):
    """Two corrections are two versions."""
    versions = set()
    for day in ("2026-09-10", "2026-09-11"):
        corrections(f'[XHKG]\nholidays = ["{day}"]\n')
        versions.add(load_calendar("XHKG").version)
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("[XHKG", "is no file in TOML"),
        ("XHKG = 1", "is no correction; a calendar takes version"),
        ("[XHKG]\nholiday = []", "holiday = .* is no correction"),
        ('[XHKG]\nholidays = "2026-09-10"', "is no correction"),
        ('[XHKG]\nholidays = ["10 Sep"]', r"calendars.toml, \[XHKG\]: .* write it as YYYY-MM-DD"),
    ],
)
def test_a_wrong_file_is_named(corrections, text, remedy):
    """The message has the file, the calendar and what to write."""
    corrections(text)
    with pytest.raises(CalendarError, match=remedy):
        load_calendar("XHKG")


def test_a_file_that_is_not_there_is_an_error(monkeypatch):
    """A path that leads nowhere is not taken for a file without corrections."""
    monkeypatch.setenv("FLOWCTX_CALENDARS", "/nowhere/calendars.toml")
    with pytest.raises(CalendarError, match="cannot be read .* correct the path, or unset it"):
        load_calendar("XHKG")


@pytest.mark.parametrize(
    ("setting", "calendar", "says"),
    [("/nowhere/calendars.toml", "XHKG", "^FLOWCTX_CALENDARS="), ("", "XHKH", "^there is no calendar 'XHKH'; did you")],
)
def test_a_calendar_that_cannot_be_had_is_no_matter_of_a_date(monkeypatch, setting, calendar, says):
    """A key is not called one that the scheme has not, where nobody can tell; nor a selection of one."""
    monkeypatch.setenv("FLOWCTX_CALENDARS", setting)
    monkeypatch.setattr("flowctx.core.dates.calendar._loaded", {})
    scheme = PartitionScheme(date=Daily(start="2026-01-05", calendar=calendar))
    for ask in (scheme.parse, scheme.select):
        with pytest.raises(CalendarError, match=says):
            ask("date=2026-01-06")


def test_an_alias_in_the_file_is_the_calendar_that_it_is_an_alias_of(corrections):
    """By whichever name it is asked for, there is one calendar, and it is corrected."""
    corrections('[NYSE]\nversion = "x"\nholidays = ["2026-01-09"]\n')
    found = [load_calendar(name) for name in ("XNYS", "NYSE")]
    assert [calendar.is_session(date(2026, 1, 9)) for calendar in found] == [False, False]
    assert found[0] == found[1]
    check_corrections()


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("[XNYX]\nholidays = []", r"calendars.toml, \[XNYX\]: there is no calendar 'XNYX'; did you mean XNYS"),
        ("[WEEKDAYS]\nholidays = []", r"\[WEEKDAYS\]: WEEKDAYS is built in and cannot be corrected"),
        ("[NYSE]\n[XNYS]", r"\[NYSE\] and \[XNYS\] are one calendar, XNYS; write one table, \[XNYS\]"),
    ],
)
def test_a_name_in_the_file_that_corrects_nothing_is_refused(corrections, text, remedy):
    """Whichever calendar is loaded: a slip is not taken for a file that says nothing of it."""
    corrections(text)
    with pytest.raises(CalendarError, match=remedy):
        load_calendar("XHKG")
    with pytest.raises(CalendarError, match=remedy):
        check_corrections()


def test_the_names_in_the_file_import_nothing_once_they_are_cached(corrections):
    """A process that parses a DAG file does not pay for pandas because of a correction of another calendar."""
    corrections('[NYSE]\nholidays = ["2026-01-09"]\n')
    load_calendar("XHKG")
    code = "from flowctx import get_calendar as g; g('XHKG'); import sys; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
