"""What an engine has to be able to do for a test."""

import importlib

import pytest


def require(name: str, ability: str) -> None:
    """Skip the test where the engine that is installed cannot do something."""
    engine = getattr(importlib.import_module(f"flowctx.{name}._versions"), name.upper())
    if not engine.able(ability):
        pytest.skip(f"{engine.name} {engine.found} has no {ability}; {engine.abilities[ability].since} has")
