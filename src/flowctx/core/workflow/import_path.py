"""Where a workflow is in the code, as text: ``flows:prices`` or ``path/flows.py:prices``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from flowctx.core.errors import WorkflowError
from flowctx.core.workflow.definition import Workflow

_TARGET = re.compile(r"(?P<where>[\w.]+|.+\.py)(:(?P<name>\w+))?")


def import_path_of(workflow: Workflow) -> str | None:
    """Return where to import a workflow from, or ``None`` if no module has it under a name of its own.

    Example:
        >>> import_path_of(Workflow("nowhere")) is None
        True
    """
    for module_name in dict.fromkeys(step.function.__module__ for step in workflow.steps.values()):
        module = sys.modules.get(module_name)
        for name, value in list(vars(module).items()) if module else ():
            if value is workflow and module is not None:
                where = _where(module)
                return f"{where}:{name}" if where else None
    return None


def _where(module: ModuleType) -> str | None:
    if module.__name__ != "__main__":
        return module.__name__
    spec = module.__spec__
    return spec.name if spec is not None else getattr(module, "__file__", None)


def import_workflow(import_path: str) -> Workflow:
    """Import a workflow.

    Args:
        import_path: ``module:name`` or ``file.py:name``; without a name, the only workflow of the module.

    Raises:
        WorkflowError: There is no such module, or no such workflow in it.
    """
    match = _TARGET.fullmatch(import_path)
    if match is None:
        raise WorkflowError(f"{import_path!r} is no place of a workflow; write module:name or file.py:name")
    module = _module(match["where"])
    found = {name: value for name, value in vars(module).items() if isinstance(value, Workflow)}
    name = match["name"]
    if name is None:
        if len({id(value) for value in found.values()}) == 1:
            return next(iter(found.values()))
        raise WorkflowError(f"say which workflow of {import_path!r} is meant: {', '.join(found) or 'it has none'}")
    if name not in found:
        raise WorkflowError(f"{match['where']!r} has no workflow {name!r}; it has {', '.join(found) or 'none'}")
    return found[name]


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as exc:
            if exc.name is None or not f"{where}.".startswith(f"{exc.name}."):
                raise
            raise WorkflowError(
                f"there is no module {where!r} to import; run this in the folder that has it, or write file.py:name"
            ) from exc
    path = Path(where).resolve()
    if not path.is_file():
        raise WorkflowError(f"there is no file {where!r} here; is it another folder's?")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise WorkflowError(f"{where!r} cannot be imported; is it Python?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
