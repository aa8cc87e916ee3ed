"""The public surface of flowctx."""

import importlib.metadata
import pathlib

import flowctx


def test_all_is_sorted_and_complete():
    """__all__ is in the order that ruff keeps, and every name in it is there."""
    assert len(flowctx.__all__) == len(set(flowctx.__all__))
    assert all(hasattr(flowctx, name) for name in flowctx.__all__)


def test_the_public_names():
    """Adding or removing a public name is a decision: it shows here."""
    kept = pathlib.Path(__file__).with_name("public_names.txt").read_text().split()
    assert kept == flowctx.__all__


def test_every_public_name_is_documented():
    """Each class and function says what it does."""
    for name in flowctx.__all__:
        thing = getattr(flowctx, name)
        if callable(thing):
            assert thing.__doc__, name
            assert not thing.__doc__.startswith(f"{name}("), name


def test_it_is_typed():
    """The marker that tells type checkers to look is shipped."""
    assert (pathlib.Path(flowctx.__file__).parent / "py.typed").exists()


def test_an_unknown_name_is_an_attribute_error():
    """The lazy lookup does not swallow typing errors."""
    assert not hasattr(flowctx, "WorkflowContxt")


def test_it_says_its_version():
    """The version is that of the package that is installed."""
    assert flowctx.__version__ == importlib.metadata.version("flowctx")
