"""Loads the files of migrations once a process: Alembic reads all those of Dagster for each database that is made."""

from pathlib import Path
from types import ModuleType

from alembic.util import pyfiles

_load_file, _migrations = pyfiles.load_module_py, dict[tuple[Path, int], ModuleType]()


def _load_once(module_id: str, path: Path) -> ModuleType:
    if path.parent.name != "versions":
        return _load_file(module_id, path)  # it runs the migrations
    file = (path, path.stat().st_mtime_ns)
    if file not in _migrations:
        _migrations[file] = _load_file(module_id, path)
    return _migrations[file]


pyfiles.load_module_py = _load_once
