"""The outputs of several partitions: in order, and loaded when they are looked at."""

import pytest

from flowctx import Outputs, PartitionKey, PlainDataError

KEYS = [PartitionKey(day=str(n)) for n in range(200)]


def lazy(asked):
    """Outputs that note what is asked for."""

    def load(keys):
        asked.append(len(keys))
        return {key: {"n": int(key.day)} for key in keys}

    return Outputs.lazy(KEYS, load)


def test_nothing_is_loaded_before_it_is_looked_at():
    """Keys, length and membership cost nothing; one output loads a few that come after it."""
    asked = []
    outputs = lazy(asked)
    assert (list(outputs) == KEYS, len(outputs), KEYS[7] in outputs, asked) == (True, 200, True, [])
    assert outputs[KEYS[150]] == {"n": 150}
    assert asked == [50]


def test_all_are_loaded_in_few_goes_and_once():
    """Two hundred take four questions, in the order of the scheme."""
    asked = []
    outputs = lazy(asked)
    assert [output["n"] for output in outputs.values()] == list(range(200))
    assert [output["n"] for output in outputs.values()] == list(range(200))
    assert asked == [64, 64, 64, 8]
    assert (outputs.first, outputs.last) == ({"n": 0}, {"n": 199})


def test_a_test_makes_them_of_a_dict():
    """They are read-only, as what a step sees."""
    outputs = Outputs({KEYS[0]: {"rows": [1]}})
    with pytest.raises(TypeError, match="copy it first"):
        outputs[KEYS[0]]["rows"].append(2)
    assert (outputs == {KEYS[0]: {"rows": [1]}}, repr(outputs)) == (True, "<Outputs: 1 partition from day=0 to day=0>")


def test_there_may_be_none():
    """Of a window without dates nothing is first or last, and nothing says what a table would be."""
    empty = Outputs()
    assert (len(empty), empty.first, empty.last, repr(empty)) == (0, None, None, "<Outputs: 0 partitions>")
    with pytest.raises(PlainDataError, match="there are no outputs"):
        empty.table("rows")


def test_a_key_that_is_not_there_is_a_key_error():
    """As of any mapping."""
    with pytest.raises(KeyError):
        lazy([])[PartitionKey(day="x")]


def test_an_output_without_the_table_is_named():
    """The message says which partition, and which tables there are."""
    with pytest.raises(PlainDataError, match="the output of day=0 has no table 'rows'; its tables: none"):
        Outputs({KEYS[0]: {"rows": 1}}).table("rows")
