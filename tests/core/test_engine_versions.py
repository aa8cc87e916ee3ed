"""The window of an engine's versions, and its abilities by name."""

import pickle
from importlib.metadata import version

import pytest

from flowctx.core.engine_versions import Ability, Engine, numbers
from flowctx.core.errors import MissingExtra, UnsupportedEngine


def engine(lowest="0.1", **abilities):
    """Return an engine whose version is that of an installed package."""
    found = {name: Ability(since, "it walks") for name, since in abilities.items()}
    return Engine("Msgspec", extra="msgspec", packages=("not-there", "msgspec"), lowest=lowest, abilities=found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3.3", (3, 3, 0)), ("3.10.2rc1", (3, 10, 2)), ("1.13.27.post1", (1, 13, 27)), ("3.3.0+local.7", (3, 3, 0))],
)
def test_versions_compare_by_their_numbers(text, expected):
    """What follows the numbers, such as rc1 or a local part, does not count."""
    assert numbers(text) == expected
    assert numbers("3.10") > numbers("3.9.9")


def test_abilities_are_asked_by_name():
    """An ability is there from its version on; a name that the table has not is a mistake of ours."""
    found = engine(walking="0.1", flying="99.0")
    assert (found.able("walking"), found.able("flying")) == (True, False)
    with pytest.raises(KeyError):
        found.able("swimming")


def test_what_cannot_be_names_the_version_that_can():
    """Whoever needs an ability reads what was asked for, which version has it, and which was found."""
    with pytest.raises(UnsupportedEngine) as caught:
        engine(flying="99.0").need("flying", "a flight")
    assert str(caught.value) == f"a flight needs Msgspec 99.0 or later, found {version('msgspec')}"


def test_an_engine_out_of_the_window_is_refused():
    """An older engine, and one that is not there, are import errors that say what is needed; they can be pickled."""
    engine().check()
    with pytest.raises(UnsupportedEngine, match=r"flowctx needs Msgspec 99\.0 or later, found") as caught:
        engine("99.0").check()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(MissingExtra, match=r"pip install 'flowctx\[x\]'"):
        Engine("None", extra="x", packages=("not-there",), lowest="1").check()
