"""The names that a project has for its workflows: the table ``[tool.flowctx]`` of its ``pyproject.toml``."""

from __future__ import annotations

from pathlib import Path

from flowctx.core.errors import WorkflowError
from flowctx.core.printable import brief


def named_workflows() -> dict[str, str]:
    """Return the table of the nearest ``pyproject.toml``, from the working folder upwards; files are from its folder.

    Raises:
        WorkflowError: It is no TOML, or no table of texts.

    Example:
        >>> named_workflows().get("no-such-name") is None
        True
    """
    here = Path.cwd()
    tables = (_table(folder / "pyproject.toml") for folder in (here, *here.parents))
    return next((table for table in tables if table is not None), {})


def is_named_file(where: str, name: str) -> bool:
    """Return whether the user's own table names a workflow in a file, so that the file may be run.

    Args:
        where: The path of the file, as others say it.
        name: The workflow's name in it.

    Example:
        >>> is_named_file("/tmp/evil.py", "flow")
        False
    """
    return f"{Path(where).resolve()}:{name}" in {_resolved(place) for place in named_workflows().values()}


def _resolved(place: str) -> str:
    where, _, name = place.rpartition(":")
    return f"{Path(where).resolve()}:{name}"


def _table(file: Path) -> dict[str, str] | None:
    if not file.is_file():
        return None
    import tomllib

    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WorkflowError(f"{file} is no TOML: {exc}") from exc
    table = found.get("tool", {}).get("flowctx", {})
    if not isinstance(table, dict) or not all(isinstance(place, str) for place in table.values()):
        raise WorkflowError(f'[tool.flowctx] of {file} has {brief(table)}; write prices = "flows:prices"')
    return {name: _from_folder(file.parent, place) for name, place in table.items()}


def _from_folder(folder: Path, place: str) -> str:
    where, colon, name = place.rpartition(":")
    return f"{folder / where}:{name}" if colon and where.endswith(".py") else place
