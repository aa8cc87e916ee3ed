"""Every error that is raised on purpose."""

import inspect
import pickle

import pytest

import flowctx
from flowctx.core import errors

ERRORS = [error for _, error in inspect.getmembers(errors, inspect.isclass) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_public_and_of_one_kind(error):
    """Whoever catches FlowctxError catches all, and each is found under the package's own name."""
    assert issubclass(error, flowctx.FlowctxError)
    assert getattr(flowctx, error.__name__) is error


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (errors.PartitionError, ValueError),
        (errors.UnknownPartition, KeyError),
        (errors.MissingDimension, AttributeError),
        (errors.PlainDataError, TypeError),
        (errors.ReadOnlyError, TypeError),
        (errors.PayloadVersionError, errors.PayloadError),
        (errors.WorkflowChanged, errors.WorkflowError),
        (errors.ContextConflict, errors.ContextError),
        (errors.ArtifactUnavailable, ConnectionError),
        (errors.ArtifactRefused, PermissionError),
        (errors.LedgerUnavailable, ConnectionError),
        (errors.CaptureHeld, errors.CaptureRefused),
        (errors.AlreadyCaptured, errors.LedgerError),
        (errors.Superseded, errors.LedgerError),
        (errors.UnknownBatch, KeyError),
        (errors.EngineUnavailable, ConnectionError),
        (errors.UnsupportedEngine, ImportError),
        (errors.MissingExtra, ImportError),
    ],
)
def test_errors_are_what_a_reader_expects(error, base):
    """Each can be caught as the built-in kind that it is one of."""
    assert issubclass(error, base)


@pytest.mark.parametrize("error", [error for error in ERRORS if error is not errors.MissingExtra])
def test_a_message_is_shown_as_it_is(error):
    """No error shows its message with quotes or escapes, as KeyError alone would."""
    assert str(error("it is\n'so'")) == "it is\n'so'"
    assert str(error()) == ""


def test_a_missing_extra_says_what_to_type():
    """The message is the line to type; the extra's name is there for programs."""
    missing = errors.MissingExtra("a Table", "tables")
    assert (
        str(missing)
        == "a Table needs an optional dependency that is not installed; type: pip install 'flowctx[tables]'"
    )
    assert missing.extra == "tables"
    named = errors.MissingExtra("x", "all", package="polars", module="polars")
    assert str(named) == "x needs polars, which is not installed; type: pip install polars"


def test_the_tree_in_the_docstring_is_complete():
    """The tree at the top of the file has every error under its base."""
    drawn = errors.__doc__
    assert [error.__name__ for error in ERRORS if error.__name__ not in drawn] == []


ERROR_TEXTS = [error("why") for error in ERRORS if error is not errors.MissingExtra]


@pytest.mark.parametrize(
    "error", [*ERROR_TEXTS, errors.MissingExtra("a Table", "tables")], ids=lambda e: type(e).__name__
)
def test_an_error_survives_pickle(error):
    """Engines carry errors from one process to another."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_long_message_keeps_its_ends():
    """Of a message that quotes a whole payload the middle is left out: what was wrong and what to do stay."""
    text = str(errors.ContextError(f"batch_id={'x' * 100_000!r} is too long; take another"))
    assert text.startswith("batch_id='xxx")
    assert text.endswith("is too long; take another")
    assert "characters left out" in text
    assert len(text) < 1600
