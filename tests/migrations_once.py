"""Reads the migrations of each kind of database once a process: Alembic does so for each database that is opened."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

_read = ScriptDirectory.from_config
_known: dict[tuple[str | None, ...], tuple[tuple[int, ...], ScriptDirectory]] = {}


def _read_once(config: Config) -> ScriptDirectory:
    place = (config.config_file_name, config.get_main_option("script_location"))
    if place not in _known or _files(_known[place][1]) != _known[place][0]:
        found = _read(config)
        _known[place] = _files(found), found
    return _known[place][1]


def _files(found: ScriptDirectory) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for file in sorted(Path(found.dir, "versions").glob("*.py")))


ScriptDirectory.from_config = staticmethod(_read_once)  # type: ignore[method-assign]
