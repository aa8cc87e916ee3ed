"""Reads our docstrings for the reference: roles become links, examples become code, ``#:`` describes fields."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(?:(?P<text>[^`<]+?)\s*<(?P<to>[^`>]+)>|(?P<name>[^`]+))`")
_LITERAL = re.compile(r"^[ \t]*::\n|(?<=\S:):$", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:\n(?P<body>(?:(?:[ \t].*)?(?:\n|\Z))+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Read the docstring of a module, class, function or field."""
        if obj.docstring is None and isinstance(obj, griffe.Attribute):
            comment = _comment_above(obj)
            if comment:
                obj.docstring = griffe.Docstring(comment, lineno=obj.lineno, parent=obj)
        if obj.docstring is not None:
            text = _EXAMPLE.sub(_example, obj.docstring.value)
            text = _LITERAL.sub("", text)
            obj.docstring.value = _ROLE.sub(_link, text)


def _comment_above(attribute: griffe.Attribute) -> str:
    """Return the ``#:`` comment above a field."""
    path = attribute.filepath
    if attribute.lineno is None or not isinstance(path, Path):
        return ""
    lines = path.read_text().splitlines()
    found: list[str] = []
    at = attribute.lineno - 2
    while at >= 0 and lines[at].strip().startswith("#:"):
        found.insert(0, lines[at].strip()[2:].strip())
        at -= 1
    return " ".join(found)


def _example(match: re.Match[str]) -> str:
    """Return an example as Markdown: a session in Python, or the indented code after ``::``."""
    body = textwrap.dedent(match["body"]).strip("\n")
    literal = body.startswith("::")
    language = "python" if literal else "pycon"
    code = textwrap.dedent(body.removeprefix("::")).strip("\n")
    return f"**Example**\n\n```{language}\n{code}\n```\n\n"


def _link(match: re.Match[str]) -> str:
    """Return a role as a link to what it names, where that is in the reference."""
    target = match["to"] or match["name"]
    name = target.lstrip("~.")
    text = match["text"] or (name.rpartition(".")[2] if target.startswith("~") else name)
    return f"[`{text}`][{name}]" if name.startswith("flowctx.") and ".core." not in name else f"`{text}`"
