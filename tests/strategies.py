"""Hypothesis strategies that several test files share."""

from datetime import timedelta, timezone

from hypothesis import strategies as st

from flowctx import ArtifactRef

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["$", "$$", "$date", "$decimal", "__id__", "__type", "$__type", "$_", "flowctx"]
)
OFFSETS = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
AWARE = st.datetimes(timezones=OFFSETS | st.timezones(), allow_imaginary=False)
TEXT = st.text(max_size=8) | st.text(st.characters(), max_size=4) | st.sampled_from(["\0", "\ud800", "a\0\ud800\\"])


def leaves():
    """Every kind of plain value that is not a container."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(2**64), 2**64).map(lambda n: n**3),
        st.floats(),
        TEXT,
        st.binary(max_size=8),
        st.dates(),
        AWARE,
        st.times() | st.times(timezones=OFFSETS),
        st.timedeltas(),
        st.decimals(allow_nan=False) | st.decimals(allow_nan=True).filter(lambda d: not d.is_snan()),
        st.uuids(),
        st.builds(ArtifactRef, uri=KEYS, digest=st.just("0" * 64), size=st.integers(0, 2**40)),
    )


def plain_data():
    """Any plain data."""
    return st.recursive(leaves(), _containers, max_leaves=12)


def plain_dicts():
    """Any dict of plain data."""
    return st.dictionaries(KEYS, plain_data(), max_size=4)


def _containers(children):
    return st.lists(children, max_size=4) | st.dictionaries(KEYS, children, max_size=4) | st.tuples(children, children)


def same(a, b):
    """Compare more strictly than ==: types, digits, signs of zero and offsets too."""
    if _kind(a) is not _kind(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def _kind(value):
    """Return the type of a value; that of a read-only dict or list does not count."""
    return next((kind for kind in (dict, list) if isinstance(value, kind)), type(value))
