"""How warnings are shown."""

from flowctx.core import own_warnings


def test_warnings_of_others_keep_their_place():
    """Only those of flowctx are lines of their own."""
    lines, theirs = [], []
    show = own_warnings.without_source(lines.append, lambda *warning: theirs.append(warning))
    show("ours", UserWarning, own_warnings.__file__, 1)
    show("theirs", UserWarning, __file__, 1)
    assert (lines, theirs) == (["Warning: ours"], [("theirs", UserWarning, __file__, 1)])
