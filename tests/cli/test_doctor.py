"""`flowctx doctor` says what is here, what is broken, and how long calendars are known."""

import re
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from adapters.engine_servers import Airflow, Dagster, serving
from flowctx.cli.checks import SETTINGS
from flowctx.ledger.tables import REVISION

ROOT = Path(__file__).parents[2]

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
    today = datetime.now(UTC).date()
    last = today + timedelta(days=left)
    name = f"cli_days_{abs(left)}"
    source = SOURCE.format(first=today.toordinal() - 30, last=last.toordinal())
    (shell.folder / f"{name}.py").write_text(source)
    [row] = shell("doctor", f"{name}:flow", "--json", exit_code=exit_code)["calendars"]
    assert (row["workflow"], row["calendar"], row["version"]) == ("flow", "DESK", "7")
    assert (row["known_until"], row["days_left"], row["ended"]) == (last.isoformat(), left, exit_code == 1)
    assert note in row["note"]
    assert "DESK" in shell("doctor", f"{name}:flow", f"{name}:tiers", exit_code=exit_code)


def test_doctor_without_workflows_says_what_to_give(shell):
    """Where no workflow is named, the answer says how to name one."""
    assert "give module:name" in shell("doctor")


def test_doctor_goes_on_past_a_workflow_that_cannot_be_imported(shell):
    """One that cannot be imported is a failed row with the reason; all else is shown, in the table and as JSON."""
    (shell.folder / "pyproject.toml").write_text('[tool.flowctx]\ngood = "cli_flows:prices"\nbad = "nomodule:x"\n')
    answer = shell("doctor", "--json", exit_code=1)
    good, bad = answer["calendars"]
    assert (answer["ok"], good["failed"], bad["failed"], bad["workflow"]) == (False, False, True, "bad")
    assert "there is no module 'nomodule'" in bad["note"]
    assert {"Python", "ledger"} <= {row["what"] for row in answer["checks"]}
    shown = shell("doctor", exit_code=1)
    assert "Python" in shown
    assert "no module 'nomodule'" in " ".join(shown.split())
    assert shell("doctor", "good", "--json")["ok"] is True


def test_doctor_goes_on_past_files_that_are_no_toml(shell, monkeypatch):
    """A pyproject.toml and a file of corrections that cannot be read are failures, and calendars say what of them."""
    monkeypatch.setenv("FLOWCTX_CALENDARS", str(shell.folder / "calendars.toml"))
    monkeypatch.setattr("flowctx.core.dates.calendar._loaded", {})
    for name in ("pyproject.toml", "calendars.toml"):
        (shell.folder / name).write_text("[broken")
    (shell.folder / "cli_nyse.py").write_text(
        "from flowctx import Daily, PartitionScheme, Workflow\n"
        "flow = Workflow('flow', partitions=PartitionScheme(date=Daily(start='2026-01-05', calendar='NYSE')))\n"
    )
    answer = shell("doctor", "cli_nyse:flow", "--json", exit_code=1)
    assert row_of(answer, "FLOWCTX_CALENDARS")["state"] == "failed"
    assert "is no TOML" in row_of(answer, "[tool.flowctx]")["note"]
    [row] = answer["calendars"]
    assert (row["failed"], "calendars.toml" in row["note"]) == (True, True)


def row_of(answer, what):
    [row] = [row for row in answer["checks"] if row["what"] == what]
    return row


def test_doctor_says_what_is_here(shell):
    """Versions, the ledger that is not there yet, and the store, which is written, read and left as it was."""
    answer = shell("doctor", "--json")
    assert answer["ok"] is True
    assert row_of(answer, "Airflow")["found"] == version("apache-airflow-core")
    assert row_of(answer, "Dagster")["found"] == version("dagster")
    assert {row_of(answer, name)["note"] for name in ("Airflow", "Dagster")} == {
        "its version fits; it was not imported"
    }
    assert row_of(answer, "SQLAlchemy")["found"] == version("SQLAlchemy")
    assert {row["engine"] for row in answer["abilities"]} == {"Airflow", "Dagster"}
    assert "partitioned runs" in shell("doctor", "--abilities")
    assert row_of(answer, "Airflow's server")["state"] == "-"


def test_doctor_looks_into_the_ledger_and_the_store(shell):
    """Where both are there, the schema is named, and nothing is left in the store."""
    shell("run", "cli_flows:prices", "--partition", "symbol=IBM", exit_code=1)
    answer = shell("doctor", "--json")
    assert row_of(answer, "ledger")["note"] == f"schema {REVISION}"
    assert row_of(answer, "ledger's clock")["state"] == "ok"
    store = row_of(answer, "artifacts")
    assert (store["state"], store["note"]) == ("ok", "written, read and deleted")
    assert not [path for path in Path(store["found"]).rglob("*") if path.is_file()]


def test_doctor_makes_no_ledger(shell, monkeypatch):
    """A ledger of one's own that is not there yet stays so."""
    monkeypatch.delenv("FLOWCTX_LEDGER_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(shell.folder / "state"))
    answer = shell("doctor", "--json")
    assert "a first run makes it" in row_of(answer, "ledger")["note"]
    assert (
        row_of(answer, "artifacts")["found"]
        == f"{row_of(answer, 'ledger')['found'].removeprefix('sqlite:///')}.artifacts"
    )
    assert not (shell.folder / "state").exists()


@pytest.mark.parametrize("url", ["ledger.db", "mysql://h/d", "sqlite:///"])
def test_doctor_goes_on_past_urls_that_are_none(shell, monkeypatch, url):
    """Of a ledger and a server that cannot be meant, the table says why."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", url)
    monkeypatch.setenv("FLOWCTX_AIRFLOW_URL", "http://me:hunter22@[::1")
    found = {check["what"]: check for check in shell("doctor", "--json", exit_code=1)["checks"]}
    assert [found[what]["state"] for what in ("ledger", "Airflow's server", "Dagster's server")] == ["failed"] * 2 + [
        "-"
    ]
    assert "hunter22" not in str(found)


def test_doctor_goes_on_where_the_ledger_cannot_be_looked_at(shell, monkeypatch):
    """A folder that is another user's, or a name that is too long: one row says so, as other commands do."""
    monkeypatch.setenv("FLOWCTX_LEDGER_URL", f"sqlite:///{'x' * 300}.db")
    row = row_of(shell("doctor", "--json", exit_code=1), "ledger")
    assert (row["state"], "x.db cannot be looked at (" in row["note"]) == ("failed", True)
    assert "name a ledger elsewhere: --ledger sqlite:////folder/ledger.db" in shell("runs", exit_code=1)


def test_doctor_gives_no_advice_that_does_not_help(shell):
    """Its rows end no command, so that nothing is shown by --debug."""
    (shell.folder / "broken_flows.py").write_text("1 / 0")
    (row,) = shell("doctor", "broken_flows:flow", "--json", exit_code=1)["calendars"]
    assert row["note"] == "'broken_flows' cannot be imported: ZeroDivisionError: division by zero"


def test_doctor_says_what_is_broken(shell, monkeypatch):
    """A store that cannot be written, a server that is away, a mode that is none: each with what to do; exit code 1."""
    (shell.folder / "file").write_text("not a folder")
    monkeypatch.setenv("FLOWCTX_ARTIFACTS_URL", str(shell.folder / "file" / "artifacts"))
    monkeypatch.setenv("FLOWCTX_AIRFLOW_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FLOWCTX_DAGSTER_URL", "nowhere")
    monkeypatch.setenv("FLOWCTX_LEDGER_MODE", "strickt")
    answer = shell("doctor", "--json", exit_code=1)
    assert answer["ok"] is False
    broken = {row["what"]: row["note"] for row in answer["checks"] if row["state"] == "failed"}
    assert set(broken) == {"artifacts", "Airflow's server", "Dagster's server", "ledger's mode"}
    assert "file/artifacts" in broken["artifacts"]
    assert "FLOWCTX_AIRFLOW_URL" in broken["Airflow's server"]
    assert "is no URL of Dagster" in broken["Dagster's server"]
    assert "'strict' or 'lenient'" in broken["ledger's mode"]


def test_doctor_hides_secrets_and_hears_typos(shell, monkeypatch):
    """Values of secret names are masked; a setting that flowctx does not read is said, with the nearest one."""
    monkeypatch.setenv("FLOWCTX_AIRFLOW_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("FLOWCTX_LEGDER_URL", "sqlite:///elsewhere.db")
    monkeypatch.setenv("FLOWCTX_CACHE_DIR", "")
    assert "hunter2" not in shell("doctor")
    answer = shell("doctor", "--json")
    assert row_of(answer, "FLOWCTX_AIRFLOW_TOKEN")["found"] == "***"
    empty = row_of(answer, "FLOWCTX_CACHE_DIR")
    assert (empty["found"], empty["state"], empty["note"]) == (None, "-", "it is empty, which is as if it were not set")
    typo = row_of(answer, "FLOWCTX_LEGDER_URL")
    assert (typo["state"], typo["note"]) == (
        "warning",
        "flowctx reads no such setting; did you mean FLOWCTX_LEDGER_URL?",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[XNYX]", "there is no calendar 'XNYX'; did you mean XNYS"),
        ('[XNYS]\nholidays = ["2050-01-01"]', "[XNYS]: "),
        (None, "cannot be read"),
    ],
)
def test_doctor_reads_the_corrections_of_calendars(shell, monkeypatch, text, says):
    """A file that corrects nothing, or cannot be read, is a failure; one that is right is not."""
    path = shell.folder / "calendars.toml"
    monkeypatch.setenv("FLOWCTX_CALENDARS", str(path))
    if text is not None:
        path.write_text(text)
    row = row_of(shell("doctor", "--json", exit_code=1), "FLOWCTX_CALENDARS")
    assert row["state"] == "failed"
    assert says in row["note"]
    right = path.with_name("right.toml")  # a process reads a file once
    right.write_text('[NYSE]\nholidays = ["2026-01-09"]')
    monkeypatch.setenv("FLOWCTX_CALENDARS", str(right))
    assert row_of(shell("doctor", "--json"), "FLOWCTX_CALENDARS")["state"] == "ok"


def test_doctor_knows_the_settings_of_the_docs():
    """The settings that are checked are those that the page lists, and those that the source reads."""
    page = (ROOT / "docs/settings.md").read_text()
    read = {
        name for file in (ROOT / "src").rglob("*.py") for name in re.findall(r"FLOWCTX_[A-Z_]+[A-Z]", file.read_text())
    }
    assert set(re.findall(r"FLOWCTX_[A-Z_]+[A-Z]", page)) == set(SETTINGS)
    assert read == set(SETTINGS)


@pytest.mark.parametrize(("name", "server"), [("AIRFLOW", Airflow()), ("DAGSTER", Dagster())])
def test_doctor_asks_servers_for_their_version(shell, monkeypatch, name, server):
    """A server that the environment names is asked for its version, with our credentials."""
    with serving(server):
        monkeypatch.setenv(f"FLOWCTX_{name}_URL", server.url)
        row = row_of(shell("doctor", "--json"), f"{name.title()}'s server")
    assert (row["state"], row["note"]) == ("ok", f"version {server.version}")


def test_doctor_says_that_a_server_refuses_us(shell, monkeypatch):
    """A log-in that is refused is a failure that names what to set."""
    server = Airflow()
    server.troubles = [("/auth/token", 401), ("/auth/token", 401)]
    with serving(server):
        monkeypatch.setenv("FLOWCTX_AIRFLOW_URL", server.url)
        row = row_of(shell("doctor", "--json", exit_code=1), "Airflow's server")
    assert row["state"] == "failed"
    assert "does not log us in" in row["note"]
