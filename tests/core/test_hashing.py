"""SHA-256 of bytes and texts."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from flowctx.core.hashing import sha256


@given(st.binary() | st.integers(4000, 9000).map(bytes))
def test_bytes_have_the_standard_s_digest(data):
    """It is the SHA-256 that every other program computes."""
    assert sha256(data) == hashlib.sha256(data).hexdigest()


@given(st.text(st.characters(codec="utf-8")))
def test_a_text_is_hashed_as_utf_8(text):
    """A text and its bytes have one digest."""
    assert sha256(text) == sha256(text.encode("utf-8"))
