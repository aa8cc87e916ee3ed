"""Which version of an engine is there, and what it can: each adapter has one table of abilities, asked by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple

from flowctx.core.errors import MissingExtra, UnsupportedEngine


class Ability(NamedTuple):
    """Something that an engine can do from some version on."""

    #: The first version that can.
    since: str
    #: What happens on the versions before.
    otherwise: str


@dataclass(frozen=True)
class Engine:
    """An engine, the window of its versions, and what came with which of them.

    Example:
        >>> engine = Engine("msgspec", extra="x", packages=("msgspec",), lowest="0.1", abilities={
        ...     "flying": Ability("99.0", "it walks"), "walking": Ability("0.2", "")
        ... })
        >>> engine.able("walking"), engine.able("flying")
        (True, False)
    """

    #: Its name in messages.
    name: str
    #: The extra that brings it, and the name of its package in Python.
    extra: str
    #: The distributions that may hold its version, the first that is installed.
    packages: tuple[str, ...]
    #: The lowest version that is tested.
    lowest: str
    #: What came with which version, by name.
    abilities: Mapping[str, Ability] = field(default_factory=dict)

    @cached_property
    def found(self) -> str | None:
        """The version that is installed; None if there is none."""
        for package in self.packages:
            try:
                return version(package)
            except PackageNotFoundError:
                continue
        return None

    def check(self) -> None:
        """Refuse an engine that is not there, or that is older than the window.

        Raises:
            MissingExtra: It is not installed.
            UnsupportedEngine: It is older; the message says what is needed and what was found.
        """
        if self.found is None or not _importable(self.extra):
            raise MissingExtra(f"flowctx.{self.extra}", self.extra, module=self.extra)
        if numbers(self.found) < numbers(self.lowest):
            raise self._refused("flowctx", self.lowest)

    def able(self, ability: str) -> bool:
        """Say whether the engine that is installed can do something.

        Args:
            ability: Its name in the table.

        Raises:
            KeyError: The table has no such name.
        """
        since = self.abilities[ability].since
        return self.found is not None and numbers(self.found) >= numbers(since)

    def need(self, ability: str, purpose: str) -> None:
        """Refuse what the engine that is installed cannot do.

        Args:
            ability: Its name in the table.
            purpose: What was asked for, as the start of a sentence.

        Raises:
            UnsupportedEngine: It cannot; the message names the version that can.
        """
        if not self.able(ability):
            raise self._refused(purpose, self.abilities[ability].since)

    def _refused(self, purpose: str, version: str) -> UnsupportedEngine:
        return UnsupportedEngine(f"{purpose} needs {self.name} {version} or later, found {self.found or 'none'}")


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


@lru_cache(maxsize=64)
def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, by which versions compare.

    Example:
        >>> numbers("3.3.0rc1"), numbers("1.13")
        ((3, 3, 0), (1, 13, 0))
    """
    found = [int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", text, maxsplit=1)[0])]
    return tuple([*found, 0, 0, 0][: max(3, len(found))])
