"""What people see is text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx.backfill import LaunchProgress
from flowctx.cli.following import progress_text
from flowctx.core.batches.records import PartitionState
from flowctx.core.printable import brief, printable, share, well_formed

ANY = st.text(st.characters())


@given(ANY)
def test_nothing_that_is_shown_moves_a_terminal(text):
    """No control character, line end, mark of direction or half of a pair is left, and plain text stays as it is."""
    shown = printable(text)
    assert {unicodedata.category(char) for char in shown}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert {unicodedata.bidirectional(char) for char in shown}.isdisjoint(
        {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "FSI"}
    )
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[2J", r"a\x1b[2J"), ("a\nb", r"a\nb"), ("\u202eabc", r"\u202eabc"), ("\ud800", r"\ud800"), ("é €", "é €")],
)
def test_what_cannot_be_seen_is_an_escape(text, shown):
    """The escape is Python's own."""
    assert printable(text) == shown


def test_lines_may_stay():
    """A traceback keeps its lines and tabs, and nothing else that moves a cursor."""
    assert printable("a\n\tb\rc\x0bd", lines=True) == "a\n\tb\\rc\\x0bd"


@given(ANY)
def test_a_well_formed_text_is_taken_everywhere(text):
    """It has no NUL and can be written as UTF-8; what could be before is not changed."""
    found = well_formed(text)
    assert "\0" not in found
    assert found.encode("utf-8").decode("utf-8") == found
    if "\0" not in text and text.encode("utf-8", "ignore").decode() == text:
        assert found == text


@given(ANY | st.lists(st.integers()), st.integers(4, 50))
def test_a_brief_text_is_short(value, limit):
    """Whatever a value is, its text in a message has at most so many characters, and says if it was cut."""
    text = brief(value, limit)
    assert len(text) <= limit
    whole = printable(value if isinstance(value, str) else repr(value))
    assert text == whole or text.endswith("...")


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 2))
def test_a_share_is_never_rounded_up(total, some, digits):
    """Only all of them are 100%, and no share is more than it is."""
    count = min(some, total)
    shown = float(share(count, total, digits).rstrip("%"))
    assert shown <= 100 * count / total + 1e-9
    assert (shown == 100) == (count == total)


def test_progress_with_some_left_is_not_all():
    """The line of a launch rounds down."""
    assert progress_text(LaunchProgress(total=1000, before={PartitionState.OK: 997})).startswith("997/1,000 (99%)")
