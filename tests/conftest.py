"""How all tests run."""

import os
from pathlib import Path
from types import ModuleType

from alembic.util import pyfiles
from hypothesis import settings

# A machine that is busy is slow; how long an example takes is no fact about the code.
settings.register_profile("flowctx", deadline=None)
# Continuous integration looks at the same examples each time; `make test` looks for new ones.
settings.register_profile("same", settings.get_profile("flowctx"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "flowctx"))


_load_file, _migrations = pyfiles.load_module_py, dict[tuple[Path, int], ModuleType]()


def _load_once(module_id: str, path: Path) -> ModuleType:
    """Load a migration once for all databases that tests make; Alembic reads all those of Dagster for each of them."""
    if path.parent.name != "versions":
        return _load_file(module_id, path)  # it runs the migrations
    file = (path, path.stat().st_mtime_ns)
    if file not in _migrations:
        _migrations[file] = _load_file(module_id, path)
    return _migrations[file]


pyfiles.load_module_py = _load_once
