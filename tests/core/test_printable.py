"""What people see is text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx.core.printable import brief, printable, well_formed

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
