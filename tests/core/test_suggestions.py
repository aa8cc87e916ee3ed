"""What somebody probably meant."""

from hypothesis import given
from hypothesis import strategies as st

from flowctx.core.suggestions import nearest

WORDS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=6)


def test_the_best_match_comes_first():
    """A slip is found, the nearest word before others that look like it."""
    assert nearest("weekly", ["weekday", "monthly", "wekly"], n=2) == ["wekly", "weekday"]


def test_what_looks_like_nothing_has_no_match():
    """A word that is like none of the known ones is not guessed at, unless the caller wants any."""
    assert nearest("xyz", ["AAPL", "IBM"]) == []
    assert nearest("AXXX", ["AAPL"], cutoff=0.2) == ["AAPL"]


@given(st.text("abc", min_size=1, max_size=4), WORDS, st.integers(1, 3))
def test_only_known_words_are_suggested(word, known, n):
    """At most so many, all of them known; a known word is its own best match."""
    found = nearest(word, known, n)
    assert len(found) <= n
    assert set(found) <= set(known)
    if word in known:
        assert found[0] == word
