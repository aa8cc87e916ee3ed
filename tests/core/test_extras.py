"""What is said where an extra is not installed; that each is complete, tests/architecture/test_extras.py looks."""

import pytest

from flowctx.core.errors import MissingExtra
from flowctx.core.extras import needs


def missing(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_the_module_that_is_missing_is_named():
    """It may be any of those that the extra brings, or a part of one."""
    with pytest.raises(MissingExtra, match=r"^a table needs numpy, .*flowctx\[tables\]'$"), needs("a table", "tables"):
        missing("numpy.linalg")
    wanted = needs("a frame", "polars", package="polars")
    with pytest.raises(MissingExtra, match=r"^a frame needs polars, .*pip install polars$"), wanted:
        missing("polars")


@pytest.mark.parametrize("error", [ModuleNotFoundError(name="not_there"), ImportError("libx", name="pyarrow")])
def test_only_what_an_extra_brings_is_called_missing(error):
    """Where a library that is installed lacks one of its own, no extra is advised: that error is shown as it is."""
    with pytest.raises(ImportError) as caught, needs("a table", "tables"):
        raise error
    assert caught.value is error
