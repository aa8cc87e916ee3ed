"""Which version of its code a step ran with: a digest that comments, layout and docstrings do not change."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from flowctx.core.hashing import sha256

#: What was not written since then is what this process has imported.
_STARTED = time.time()


def code_version(function: Callable[..., Any]) -> str | None:
    """Return twelve hexadecimal characters for the source of a function, or ``None`` if there is none to be had.

    It is the source that runs. If its file has been written since it was imported, and :func:`keep_source` was not
    called before, there is none, and a warning says so.

    Only the function's own source counts: what it calls is not looked at. A step for which that matters says
    ``version=`` itself.

    Args:
        function: A function, method, partial or callable object.

    Example:
        >>> code_version(len) is None
        True
    """
    source = _kept(function)
    return source.version if source is not None else None


def keep_source(function: Callable[..., Any]) -> None:
    """Keep the source of a function for :func:`code_version`, whatever is written into its file from now on.

    Args:
        function: A function, method, partial or callable object.

    Example:
        >>> keep_source(lambda ctx: {"n": 1})
    """
    _kept(function)


class _File:
    """The lines of a file, as they were read once."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name, self.lines = name, lines
        self.is_imported = _last_written(name) < _STARTED

    @functools.cached_property
    def codes(self) -> frozenset[CodeType]:
        """All code in it, as Python compiles it."""
        try:
            with _warned_before():
                return frozenset(_codes(_bare(compile("".join(self.lines), self.name, "exec", dont_inherit=True))))
        except (SyntaxError, ValueError):
            return frozenset()


class _Source:
    """A function's code, and its file when the function was declared."""

    def __init__(self, function: Any) -> None:
        module = getattr(function, "__globals__", {})
        self.code: CodeType = function.__code__
        self.file = _read(self.code.co_filename, module)
        loader = module.get("__loader__")
        # pytest and notebooks change the text before they compile it: what they have compiled is not in it.
        self.comparable = type(loader) is SourceFileLoader and loader.path == self.file.name

    @functools.cached_property
    def version(self) -> str | None:
        code, lines = self.code, self.file.lines[self.code.co_firstlineno - 1 :]
        # Decorators may give a function other code than its file has.
        if self.comparable and not self.file.is_imported and _bare(code) not in self.file.codes:
            from logging import getLogger  # costs more to load than all of the contexts

            getLogger("flowctx").warning(
                "%s has changed since %s was imported from it, so the version of its code is not known; start this "
                "process again",
                self.file.name,
                code.co_qualname,
            )
            return None
        return _digest(inspect.getblock(lines)) if lines else None


#: The latest lines of each file, which all functions that are declared with them share.
_files: dict[str, _File] = {}
_sources: WeakKeyDictionary[Any, _Source] = WeakKeyDictionary()


def _kept(function: Any) -> _Source | None:
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__code__"):
        function = vars(type(function)).get("__call__", function)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return None
    source = _sources.get(function)
    if source is None or source.code is not code:  # IPython's autoreload gives a function other code
        source = _sources[function] = _Source(function)
    return source


def _read(name: str, module: dict[str, Any]) -> _File:
    linecache.checkcache(name)
    # Of a module that comes out of an archive, its loader has the text.
    lines = linecache.getlines(name, module if module.get("__file__") == name else None)
    file = _files.get(name)
    if file is None or file.lines is not lines:
        file = _files[name] = _File(name, lines)
    return file


@contextmanager
def _warned_before() -> Iterator[None]:
    """Be silent about a text, whose warnings were shown when it was imported, and do not take them for errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _last_written(name: str) -> float:
    """Return when a file was last written or put in its place, in seconds since the epoch."""
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return float("inf")
    return max(found.st_mtime, found.st_ctime)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)


def _bare(code: CodeType) -> CodeType:
    """Return code without the places in its lines, which an option of Python leaves out."""
    inner = tuple(_bare(const) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_consts=inner, co_linetable=b"")


def _digest(lines: list[str]) -> str:
    text = textwrap.dedent("".join(lines))
    try:
        with _warned_before():
            tree = ast.parse(text)
    except SyntaxError:  # such as a lambda in the middle of a call, of which we get a piece
        return _hash("".join(text.split()))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            # A decorator says how the step runs (its retries, its config), and that may change between two runs.
            node.decorator_list = []
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    if tree.body and isinstance(tree.body[0], (ast.FunctionDef, ast.ClassDef)):
        tree.body[0].name = "step"  # so that a renamed step is known again by what it does
    # unparse and not dump: the dump's text differs between Python versions, and a run may be resumed on another.
    return _hash(ast.unparse(tree))


def _hash(text: str) -> str:
    return sha256(text)[:12]
