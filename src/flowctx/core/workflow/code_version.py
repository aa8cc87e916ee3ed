"""Which version of its code a step ran with: a digest that comments, layout and docstrings do not change."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

from flowctx.core.hashing import sha256


def code_version(function: Callable[..., Any]) -> str | None:
    """Return twelve hexadecimal characters for the source of a function, or ``None`` if there is none to be had.

    Only the function's own source counts: what it calls is not looked at. A step for which that matters says
    ``version=`` itself.

    Args:
        function: A function, method, partial or callable object.

    Example:
        >>> code_version(len) is None
        True
    """
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if not hasattr(function, "__code__"):
        function = vars(type(function)).get("__call__", function)
    code = getattr(function, "__code__", None)
    return _digest(code) if isinstance(code, CodeType) else None


@functools.lru_cache(maxsize=4096)
def _digest(code: CodeType) -> str | None:
    try:
        lines = _source(code)
    except (OSError, TypeError, IndexError):
        return None
    text = textwrap.dedent("".join(lines))
    try:
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


def _source(code: CodeType) -> list[str]:
    """Return the lines of a function, without a look at each module that is loaded, as ``inspect`` takes for them."""
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    if code.co_firstlineno > len(lines):  # it may come out of an archive
        return inspect.getsourcelines(code)[0]
    return inspect.getblock(lines[code.co_firstlineno - 1 :])


def _hash(text: str) -> str:
    return sha256(text)[:12]
