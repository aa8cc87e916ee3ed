"""The examples in docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import flowctx

#: Engines need their own set-up; their examples are indented blocks, not sessions.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(flowctx.__path__, "flowctx.")
    if not module.name.startswith(("flowctx.airflow", "flowctx.dagster")) and not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    """What a docstring shows is what happens."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0
