"""What ``make test-reach`` found: kept in ``results.json``, and shown as tables in ``docs/versions.md``."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from flowctx.core.engine_versions import Engine, numbers

FILE = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "versions.md"
#: What has a table as an engine has: Python with the tests of the core, pyarrow with those of tables.
PYTHON = Engine("Python", extra="python", packages=(), lowest="3.11")
PYARROW = Engine("pyarrow", extra="pyarrow", packages=("pyarrow",), lowest="18.1")
BEGIN, END = "<!-- begin of what make test-reach writes -->\n", "<!-- end of what make test-reach writes -->\n"


def counts(report: Path) -> dict[str, Any]:
    """Return how many tests passed, failed and were left out, and how many passed that need each ability."""
    found: Counter[str] = Counter()
    needs: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "left out" if "skipped" in tags else "passed"
        found[outcome] += 1
        if outcome == "passed":
            needs.update({p.attrib["value"] for p in case.iter("property") if p.attrib["name"] == "needs"})
    return {**{name: found[name] for name in ("passed", "left out", "failed")}, "needs": dict(sorted(needs.items()))}


def keep(name: str, part: str, found: object) -> None:
    """Keep a part of what one environment gave and its date, beside the other parts and environments."""
    with FILE.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two environments may be tried at the same time
        file.seek(0)
        known = json.loads(file.read() or "{}")
        known[name] = {**known.get(name, {}), part: found, "date": f"{datetime.now(UTC).date()}"}
        file.truncate(0)
        file.write(json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False) + "\n")


def table(engine: Engine, known: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table: a column for each version of an engine, a row for each ability and each kind of run."""
    found = {name.partition("-")[2]: found for name, found in known.items() if name.startswith(f"{engine.extra}-")}
    versions = sorted(found, key=numbers)
    newest = found[versions[-1]].get("run_dag")
    rows = [[engine.name, *versions], ["---"] * (len(versions) + 1)]
    rows += [
        [fact, *(found[at].get("with", {}).get(fact, "not tried") for at in versions)]
        for fact in ("Python", "SQLAlchemy")
    ]
    rows.append(["tried", *(found[at]["date"] for at in versions)])
    rows.append(["tests", *(_tests(found[at].get("tests")) for at in versions)])
    for name, ability in engine.abilities.items():
        needs = [found[at].get("tests", {}).get("needs", {}).get(name, 0) for at in versions]
        able = [numbers(at) >= numbers(ability.since) for at in versions]
        rows.append([name, *map(_ability, able, needs)])
    for run in dict.fromkeys(run for at in reversed(versions) for run in found[at].get("runs", {})):
        rows.append([run, *(found[at].get("runs", {}).get(run, "not tried") for at in versions)])
    if newest:
        rows.append(["`run_dag`, ten steps", *(_speed(found[at].get("run_dag"), newest) for at in versions)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _tests(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not tried"
    failed = f", **{found['failed']} failed**" if found["failed"] else ""
    left_out = f", {found['left out']} left out" if found["left out"] else ""
    return f"{found['passed']} passed{left_out}{failed}"


def _ability(able: bool, passed: int) -> str:
    return "no" if not able else f"yes, {passed} test{'s' * (passed != 1)} of it" if passed else "yes"


def _speed(found: Mapping[str, float] | None, newest: Mapping[str, float]) -> str:
    if found is None:
        return "not tried"
    processor, wall = (found[name] / newest[name] for name in ("processor", "wall"))
    return f"{found['processor']:.2f} s of processor: {processor:.2f}×, on the clock {wall:.2f}×"


def written(page: str, tables: list[str]) -> str:
    """Return a page with these tables between the marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(tables) + f"\n{END}{rest.partition(END)[2]}"


def show() -> None:
    """Write the tables into the page."""
    from flowctx.airflow._versions import AIRFLOW
    from flowctx.dagster._versions import DAGSTER

    known = json.loads(FILE.read_text())
    PAGE.write_text(written(PAGE.read_text(), [table(engine, known) for engine in (AIRFLOW, DAGSTER, PYTHON, PYARROW)]))
