"""The sides of a comparison as processes of their own: none sees the engine or the settings of another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flowctx.core.data.encoding import decode, encode
from flowctx.core.data.plain import freeze
from flowctx.core.errors import EngineError, FlowctxError
from flowctx.core.masking import mask_text
from flowctx.core.partitions.key import PartitionKey
from flowctx.core.workflow.import_path import import_workflow
from flowctx.parity.comparing import AGAIN
from flowctx.parity.running import Work, run_side

_PROGRAM: Final = "import sys; from flowctx.parity.processes import child; child(sys.argv[1])"
#: Settings of Airflow's that say where connections and variables are, which steps may need; all others are left out.
_KEPT: Final = "AIRFLOW__SECRETS__"
_LOOK_SECONDS: Final = 0.05
#: So many characters of what a process wrote are shown.
_TAIL: Final = 2000


@dataclass(frozen=True)
class Processes:
    """Runs each side in a process of its own.

    Args:
        target: Where the workflow is, as ``module:name`` or ``file.py:name``.
        tick: Called while they run, with the names of those that do.
    """

    target: str
    tick: Callable[[list[str]], object] = lambda names: None

    def __call__(
        self, work: Work, sides: Mapping[str, tuple[str, Path]]
    ) -> Mapping[str, Mapping[PartitionKey | None, str]]:
        """Run them, and return what could not begin, for each side.

        Raises:
            EngineError: A process could not run its side; the message says what it wrote.
        """
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, (engine, folder) in sides.items():
                running[name] = self._started(work, name, engine, folder)
            while under_way := [name for name, process in running.items() if process.poll() is None]:
                self.tick(under_way)
                time.sleep(_LOOK_SECONDS)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
        return {name: _answer(name, folder) for name, (_, folder) in sides.items()}

    def _started(self, work: Work, name: str, engine: str, folder: Path) -> subprocess.Popen[bytes]:
        job: dict[str, Any] = {
            "target": self.target,
            "engine": engine,
            "keys": [None if key is None else str(key) for key in work.keys],
            "params": dict(work.params),
        }
        (folder / "job.json").write_bytes(encode(freeze(job, "the job")))
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _PROGRAM, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**_environment(name), "TMPDIR": str(folder)},  # what it leaves there ends with the folder
            )


def without_airflow(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what leads to an Airflow of the user's."""
    return {
        variable: value
        for variable, value in environment.items()
        if variable != "AIRFLOW_HOME" and (not variable.startswith("AIRFLOW__") or variable.startswith(_KEPT))
    }


def _environment(name: str) -> dict[str, str]:
    """Return the environment of a side: without an Airflow of the user's, and with its own order of sets."""
    kept = without_airflow(os.environ)
    # Python orders the text in a set anew in each process: two runs here have two orders, so that a step that
    # depends on it is told from one that depends on the engine.
    seed = {"PYTHONHASHSEED": "2" if name == AGAIN else "1"}
    return {**seed, **kept, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def _answer(name: str, folder: Path) -> dict[PartitionKey | None, str]:
    file = folder / "answer.json"
    if not file.exists():
        tail = mask_text((folder / "log").read_text(errors="replace")[-_TAIL:].strip())
        raise EngineError(f"the process of the runs {_where(name)} died; the last that it wrote:\n{tail}")
    answer = decode(file.read_bytes())
    if answer["error"] is not None:
        raise EngineError(f"the runs {_where(name)} could not be made: {answer['error']}")
    return {PartitionKey.parse(key) if key else None: why for key, why in answer["problems"].items()}


def _where(name: str) -> str:
    return name if name.startswith("here") else f"on {name.capitalize()}"


def child(place: str) -> None:
    """Run one side, as the process of it, and write what came of it."""
    folder = Path(place)
    job = decode((folder / "job.json").read_bytes())
    answer: dict[str, Any] = {"problems": {}, "error": None}
    try:
        keys = [None if key is None else PartitionKey.parse(key) for key in job["keys"]]
        work = Work(workflow=import_workflow(job["target"]), keys=keys, params=job["params"])
        answer["problems"] = {str(key or ""): why for key, why in run_side(work, job["engine"], folder).items()}
    except FlowctxError as exc:
        answer["error"] = str(exc)
    (folder / "answer.json").write_bytes(encode(freeze(answer, "the answer")))
