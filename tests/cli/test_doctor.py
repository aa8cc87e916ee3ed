"""`flowctx doctor` says how long calendars are known."""

from datetime import UTC, datetime, timedelta

import pytest

TODAY = datetime.now(UTC).date()
SOURCE = """
from datetime import date, timedelta
from flowctx import BusinessCalendar, Daily, PartitionScheme, Workflow

days = [date.fromordinal(n) for n in range({first}, {last} + 1)]
desk = BusinessCalendar.from_sessions("DESK", days, version="7")
flow = Workflow("flow", partitions=PartitionScheme(date=Daily(start=days[0], calendar=desk)))
flow.step(name="s")(lambda ctx: {{}})
tiers = Workflow("tiers", partitions=PartitionScheme(tier=["T1"]))
tiers.step(name="s")(lambda ctx: {{}})
"""


@pytest.mark.parametrize(
    ("left", "exit_code", "note"), [(99, 0, "ok"), (40, 0, "40 days from now"), (-1, 1, "is past")]
)
def test_doctor_says_how_long_a_calendar_is_known(shell, left, exit_code, note):
    """The calendar, its version, its last day and the days left; a calendar that has ended is exit code 1."""
    last = TODAY + timedelta(days=left)
    name = f"cli_days_{abs(left)}"
    source = SOURCE.format(first=TODAY.toordinal() - 30, last=last.toordinal())
    (shell.folder / f"{name}.py").write_text(source)
    [row] = shell("doctor", f"{name}:flow", "--json", exit_code=exit_code)["calendars"]
    assert (row["workflow"], row["calendar"], row["version"]) == ("flow", "DESK", "7")
    assert (row["known_until"], row["days_left"], row["ended"]) == (last.isoformat(), left, exit_code == 1)
    assert note in row["note"]
    assert "DESK" in shell("doctor", f"{name}:flow", f"{name}:tiers", exit_code=exit_code)


def test_doctor_without_workflows_says_what_to_give(shell):
    """Where no workflow is named, the answer says how to name one."""
    assert "give module:name" in shell("doctor")
