"""Where a workflow is in the code, as text: ``flows:prices`` or ``path/flows.py:prices``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from flowctx.core.errors import BatchError, FlowctxError, WorkflowError, ending_text
from flowctx.core.printable import brief
from flowctx.core.suggestions import a_kind
from flowctx.core.workflow.definition import Workflow
from flowctx.core.workflow.inputs import Source
from flowctx.core.workflow.named_workflows import is_named_file

#: What an error says that a traceback would explain.
SHOWN_BY_DEBUG: Final = " (flowctx --debug shows where)"

#: The module or file of a workflow that is being imported.
_IMPORTED: ContextVar[str | None] = ContextVar("imported", default=None)

_TARGET = re.compile(r"(?P<where>[\w.]+|.+\.py)(:(?P<name>\w+))?")


def import_path_of(workflow: Source) -> str | None:
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
    """Return the name that Python finds a module by, or its file: Airflow makes up names for its DAG files."""
    found_by, main = module.__name__, module.__name__ == "__main__"
    if main and module.__spec__ is not None:
        return module.__spec__.name
    if not main and _is_found(found_by.partition(".")[0], tuple(sys.path)):
        return found_by
    file: str | None = getattr(module, "__file__", None)  # none in a notebook or on standard input
    if file is not None and file.endswith(".py"):
        return file
    return None if main else found_by


@lru_cache(maxsize=64)  # it looks into folders, and each run asks for it
def _is_found(top: str, places: tuple[str, ...]) -> bool:
    """Whether another process would find a module; ``importlib.util.find_spec`` answers for those that are here."""
    return any(finder.find_spec(top, None) is not None for finder in sys.meta_path)


def import_workflow(import_path: str, package: str | None = None) -> Workflow:
    """Import a workflow.

    Args:
        import_path: ``module:name`` or ``file.py:name``; without a name, the only workflow of the module.
        package: The package in which a module with a leading ``.`` is.

    Raises:
        WorkflowError: There is no such module, or no such workflow in it.

    Example:
        >>> import_workflow("flowctx.examples.prices:prices").name
        'daily_prices'
    """
    where, name = _place(import_path)
    found = _workflows_of(where, package)
    if name is None:
        if len({id(value) for value in found.values()}) == 1:
            return next(iter(found.values()))
        raise WorkflowError(f"say which workflow of {import_path!r} is meant: {', '.join(found) or 'it has none'}")
    if name not in found:
        raise WorkflowError(f"{where!r} has no workflow {name!r}; it has {', '.join(found) or 'none'}")
    return found[name]


def workflows_beside(import_path: str) -> list[Workflow]:
    """Import all workflows of the module that a workflow is named in, wherever they are made.

    Args:
        import_path: ``module:name`` or ``file.py:name``.

    Raises:
        WorkflowError: There is no such module.

    Example:
        >>> [workflow.name for workflow in workflows_beside("flowctx.examples.prices:prices")]
        ['daily_prices']
    """
    return list(_workflows_of(_place(import_path)[0]).values())


def is_import_path(text: str) -> bool:
    """Return whether a text says where a workflow may be: a module or a file, and a name in it if it has one.

    Example:
        >>> is_import_path("day=monday/flows.py:nav"), is_import_path("day=monday")
        (True, False)
    """
    return _TARGET.fullmatch(text) is not None


def _place(import_path: str) -> tuple[str, str | None]:
    match = _TARGET.fullmatch(import_path)
    if match is None:
        raise WorkflowError(f"{import_path!r} is no place of a workflow; write module:name or file.py:name")
    return match["where"], match["name"]


def _workflows_of(where: str, package: str | None = None) -> dict[str, Workflow]:
    return {name: value for name, value in vars(_module(where, package)).items() if isinstance(value, Workflow)}


def import_recorded(import_path: str) -> Workflow:
    """Import a workflow from where a ledger says that it is: a module that Python finds, or a file that the user names.

    A ledger may be written by others: it does not decide which files are executed here. A file is run only if the
    user's own ``[tool.flowctx]`` names it.

    Args:
        import_path: ``module:name`` or ``file.py:name``, as it was recorded.

    Raises:
        WorkflowError: It is the path of a file that the user does not name, or there is no such workflow.

    Example:
        >>> import_recorded("/tmp/flows.py:prices")
        Traceback (most recent call last):
        flowctx.core.errors.WorkflowError: the ledger says that the workflow is in the file '/tmp/flows.py', ...
    """
    where, _, name = import_path.rpartition(":")
    where = where or import_path
    if where.endswith(".py") and is_named_file(where, name):
        return import_workflow(import_path)
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", where):
        raise WorkflowError(
            f"the ledger says that the workflow is in the file {brief(where)!r}, which is not run on its word; pass it "
            "yourself (--workflow file.py:name), or name it in [tool.flowctx] of pyproject.toml"
        )
    return import_workflow(import_path)


def import_function(import_path: str) -> Callable[..., Any]:
    """Import a function.

    Args:
        import_path: ``module:name`` or ``file.py:name``.

    Raises:
        WorkflowError: There is no such module, no such name in it, or it is no function.

    Example:
        >>> import_function("math:sqrt")(9)
        3.0
    """
    match = _TARGET.fullmatch(import_path)
    if match is None or match["name"] is None:
        raise WorkflowError(f"{import_path!r} is no place of a function; write module:name or file.py:name")
    found = getattr(_module(match["where"]), match["name"], None)
    if not callable(found):
        kind = "is not there" if found is None else f"is {a_kind(found)}, no function"
        raise WorkflowError(f"{match['name']!r} of {match['where']!r} {kind}")
    function: Callable[..., Any] = found
    return function


def refuse_while_imported() -> None:
    """Refuse to begin a batch in a module that is imported for its workflow: each worker process imports it as well.

    Raises:
        BatchError: One is being imported.
    """
    where = _IMPORTED.get()
    if where is not None:
        raise BatchError(
            f"{where!r} begins a batch when it is imported, and each worker process imports it; put what begins "
            'batches under if __name__ == "__main__"'
        )


def _module(where: str, package: str | None = None) -> ModuleType:
    token = _IMPORTED.set(where)
    try:
        return _imported(where, package)
    finally:
        _IMPORTED.reset(token)


def _imported(where: str, package: str | None) -> ModuleType:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where, package)
        except ModuleNotFoundError as exc:
            wanted = importlib.util.resolve_name(where, package)
            if exc.name is None or not f"{wanted}.".startswith(f"{exc.name}."):
                raise _broken(where, exc) from exc
            parent, _, name = where.rpartition(".")
            meant = f"did you mean {parent}:{name}? " if hasattr(sys.modules.get(parent), name) else ""
            raise WorkflowError(
                f"there is no module {where!r} to import; {meant}run this in the folder that has it, or write "
                "file.py:name"
            ) from exc
        except (FlowctxError, KeyboardInterrupt):
            raise
        except BaseException as exc:  # one that ends the process, too: what asked for it would end as if all were well
            raise _broken(where, exc) from exc
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
    try:
        spec.loader.exec_module(module)
    except BaseException as exc:
        del sys.modules[path.stem]  # half of it is nothing
        if isinstance(exc, (FlowctxError, KeyboardInterrupt)):
            raise
        raise _broken(where, exc) from exc
    return module


def _broken(where: str, exc: BaseException) -> WorkflowError:
    """Return the error of code that cannot be imported; ``flowctx --debug`` shows where it is."""
    return WorkflowError(f"{where!r} cannot be imported: {ending_text(exc)}{SHOWN_BY_DEBUG}")
