"""Named calendars: what exchange_calendars knows, the cache on disk, and files of holidays."""

import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

from flowctx import BusinessCalendar, CalendarError, calendar_from_file
from flowctx.calendars import load_calendar
from flowctx.calendars.exchange import FIRST, LAST, edition
from flowctx.core.dates.calendar import get_calendar

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("FLOWCTX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "calendars"


def run_python(code, **env):
    """Run code in a fresh interpreter and return what it prints."""
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_the_bounds_do_not_move_with_today():
    """New York is known from 1990 to 2039, whenever it is loaded."""
    assert (get_calendar("XNYS").first, get_calendar("XNYS").last) == (FIRST, LAST)
    assert get_calendar("XTKS").first == date(1997, 1, 1)


@pytest.mark.parametrize(
    ("name", "day", "is_open"),
    [
        ("XNYS", "2001-09-11", False),
        ("XNYS", "2012-10-29", False),
        ("XNYS", "2012-10-31", True),
        ("XKRX", "1998-11-21", True),  # a Saturday session
        ("XMOS", "2024-12-28", True),  # a Saturday worked
        ("XTAE", "2024-06-09", True),  # a Sunday, before 2026
        ("XTAE", "2026-06-14", False),  # a Sunday, after
        ("ASEX", "2024-05-03", False),  # Orthodox Good Friday
        ("ASEX", "2024-05-06", False),  # Orthodox Easter Monday
        ("ASEX", "2024-05-07", True),
        ("XCYS", "2024-03-18", False),  # Green Monday
        ("XSAU", "2024-09-22", True),  # Sunday to Thursday
    ],
)
def test_some_days_are_known(name, day, is_open):
    """Closures, working weekends and moveable feasts are as history has them."""
    assert get_calendar(name).is_session(date.fromisoformat(day)) is is_open


def test_an_alias_is_the_calendar_itself():
    """NYSE is XNYS, in name too."""
    assert load_calendar("NYSE") == load_calendar("XNYS")
    assert load_calendar("NYSE").name == "XNYS"


def test_a_named_calendar_is_written_by_name():
    """Name and version are all that goes into a dict; a pickle comes back equal."""
    calendar = get_calendar("XNYS")
    assert calendar.to_dict() == {"name": "XNYS", "version": edition()}
    assert BusinessCalendar.from_dict(calendar.to_dict()) is calendar
    assert pickle.loads(pickle.dumps(calendar)) == calendar


def test_an_unknown_name_shows_near_ones(cache):
    """A misspelt calendar names those that look like it, and the built-in ones; nothing is cached for it."""
    with pytest.raises(
        CalendarError, match=r"no calendar 'XNYZ'; did you mean .*XNYS.* Built in are EVERY_DAY and WEEKDAYS"
    ):
        load_calendar("XNYZ")
    assert not cache.exists()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff\xfe", b"half", b"wrong"])
def test_a_damaged_cache_file_is_made_anew(cache, damage):
    """Whatever is in the file, the calendar is right, and so is the file afterwards."""
    calendar = load_calendar("XNYS")
    [path] = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        {b"half": whole[: len(whole) // 2], b"wrong": whole.replace(b",734", b",735", 1)}.get(damage, damage)
    )
    assert load_calendar("XNYS") == calendar
    assert path.read_bytes() == whole


def test_a_cache_of_another_version_is_not_used(cache):
    """A file of other versions is left alone; the file's name and the calendar's version say all that it is from."""
    calendar = load_calendar("XLON")
    [path] = cache.iterdir()
    for library in ("exchange_calendars", "pandas", "pyluach", "korean_lunar_calendar", "python-dateutil"):
        stated = version(library) if library == "exchange_calendars" else f"{library}{version(library)}"
        assert stated in calendar.version
        assert stated in path.name
    content = json.loads(path.read_text()) | {"edition": "1.0"}
    path.write_text(json.dumps(content))
    assert load_calendar("XLON").version == edition()
    assert json.loads(path.read_text())["edition"] == edition()


def test_names_with_slashes_stay_in_the_folder(cache):
    """24/7 is one file."""
    assert load_calendar("24/7").is_session(date(2012, 10, 27))
    assert [path.name.split("-")[0] for path in cache.iterdir()] == ["24%2F7"]


def test_without_a_folder_to_write_to_nothing_is_kept(tmp_path, monkeypatch):
    """Where the cache folder cannot be made, the calendar loads all the same."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FLOWCTX_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert load_calendar("XNYS").is_session(date(2012, 10, 26))


def test_writers_do_not_disturb_each_other(cache):
    """Many loads at once all get the calendar, and leave one whole file."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load_calendar, ["XNYS"] * 16))
    assert len(set(found)) == 1
    [path] = cache.iterdir()
    assert json.loads(path.read_text())["name"] == "XNYS"


def test_the_cache_folder_follows_the_environment(tmp_path):
    """FLOWCTX_CACHE_DIR, else XDG_CACHE_HOME/flowctx, else ~/.cache/flowctx; empty is as not set."""
    code = (
        "import os; [os.environ.pop(k, 0) for k in {drop}]; "
        "from flowctx.calendars import _cache_path as p; print(p('A', '1'))"
    )
    env = {"FLOWCTX_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}
    for drop, folder in [
        ([], "/a"),
        (["FLOWCTX_CACHE_DIR"], "/b/flowctx"),
        (["FLOWCTX_CACHE_DIR", "XDG_CACHE_HOME"], "/c/.cache/flowctx"),
    ]:
        assert run_python(code.format(drop=drop), **env) == f"{folder}/calendars/A-1-f2.json"
    empty = env | {"FLOWCTX_CACHE_DIR": ""}
    assert run_python(code.format(drop=[]), **empty) == "/b/flowctx/calendars/A-1-f2.json"


def test_a_warm_cache_imports_neither_pandas_nor_the_library(cache):
    """What a DAG file pays for a calendar is reading one file."""
    load_calendar("XNYS")
    code = (
        "import sys; from flowctx.core.dates.calendar import get_calendar; get_calendar('XNYS'); "
        "print(sorted({'pandas', 'numpy', 'exchange_calendars'} & set(sys.modules)))"
    )
    assert run_python(code, FLOWCTX_CACHE_DIR=str(cache.parent)) == "[]"


def test_without_the_library_the_message_says_what_to_install(tmp_path):
    """In an environment without exchange_calendars, XNYS names the extra, and a misspelt built-in its neighbour."""
    (tmp_path / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    source = Path(sys.modules["flowctx"].__file__).parents[1]
    code = (
        f"import sys; sys.path[:0] = {[str(tmp_path), str(source)]}\n"
        "from flowctx import Daily\n"
        "print(Daily(start='2012-01-02', calendar='WEEKDAYS')[0])\n"
        "for name in ('XNYS', 'EVERYDAY'):\n"
        "    try: Daily(start='2012-01-03', calendar=name)[0]\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    made = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert made.stdout.splitlines() == [
        "2012-01-02",
        "MissingExtra the calendar 'XNYS' needs exchange_calendars, which is not installed; "
        "type: pip install 'flowctx[calendars]'",
        "CalendarError there is no calendar 'EVERYDAY'; did you mean EVERY_DAY? Built in are EVERY_DAY and "
        "WEEKDAYS; the others are those of exchange_calendars, such as XNYS; for "
        "one of your own pass a BusinessCalendar",
    ], made.stderr


def test_a_file_of_holidays_makes_a_calendar(tmp_path):
    """One ISO date a line, with comments and empty lines; it covers the years it mentions."""
    path = tmp_path / "desk.txt"
    path.write_text("\ufeff# Sandy\n2012-10-29\n\n2012-10-30  # both days\n", encoding="utf-8")
    calendar = calendar_from_file(path)
    assert (calendar.name, calendar.first, calendar.last) == ("desk", date(2012, 1, 1), date(2012, 12, 31))
    assert calendar.next(date(2012, 10, 26)) == date(2012, 10, 31)
    assert calendar == BusinessCalendar.from_holidays("desk", ["2012-10-29", "2012-10-30"])
    longer = calendar_from_file(str(path), name="LONG", weekmask="SUN-THU", first="2010-01-01", last="2020-12-31")
    assert longer.is_session(date(2015, 1, 4))


def test_a_bad_line_is_named(tmp_path):
    """The message has the file, the line and what to write."""
    path = tmp_path / "desk.txt"
    path.write_text("2012-10-29\n30 Oct 2012\n")
    with pytest.raises(
        CalendarError, match=r"desk\.txt, line 2: holiday='30 Oct 2012' is not a date; write it as YYYY"
    ):
        calendar_from_file(path)


def test_a_file_of_holidays_that_cannot_be_read_is_said(tmp_path):
    """With its name, the reason and what to do."""
    with pytest.raises(CalendarError, match=r"nofile\.txt cannot be read \(No such file or directory\)"):
        calendar_from_file(tmp_path / "nofile.txt")
    (tmp_path / "latin.txt").write_bytes(b"2012-10-29 # \xe9")
    with pytest.raises(CalendarError, match="it is not UTF-8"):
        calendar_from_file(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        (
            "XNYS",
            r"yours another name=, or correct that one: get_calendar\('XNYS'\).* file of FLOWCTX_CALENDARS",
        ),
        ("NYSE", "NYSE is a calendar of exchange_calendars"),
        ("WEEKDAYS", "is built in; give one of your own another name="),
    ],
)
def test_a_calendar_of_your_own_has_a_name_of_its_own(tmp_path, name, remedy):
    """One that hides another is refused, however it is made."""
    path = tmp_path / f"{name}.txt"
    path.write_text("2012-10-29\n")
    for make in (
        lambda: calendar_from_file(path),
        lambda: calendar_from_file(path, name=name),
        lambda: BusinessCalendar.from_holidays(name, ["2012-10-29"]),
        lambda: BusinessCalendar.from_sessions(name, ["2012-10-29"]),
    ):
        with pytest.raises(CalendarError, match=remedy):
            make()
    assert calendar_from_file(path, name="DESK").name == "DESK"
