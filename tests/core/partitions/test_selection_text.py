"""The text of a selection: read, and written."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowctx import Daily, PartitionError, UnknownPartition
from flowctx.core.partitions.dimensions import make_dimension
from flowctx.core.partitions.index_tree import blocks, box
from flowctx.core.partitions.selection_text import block_text, parse_selection

DAYS = make_dimension("date", Daily(start="2012-01-02", end="2012-01-31", calendar="WEEKDAYS"))
TIERS = make_dimension("tier", ["T1", "T2", "a..b", "T 3", "first:2"])
BOTH = (DAYS, TIERS)


def chosen(text, dimensions=BOTH, until=None):
    """Return the indexes that a text selects, for each dimension of a selection that is one box."""
    ((days, *rest),) = blocks(parse_selection(dimensions, text, until))
    return [[index for run in runs for index in run] for runs in (days, *rest)]


@pytest.mark.parametrize(
    ("text", "days", "tiers"),
    [
        ("date=2012-01-03,tier=T1", [1], [0]),
        (" tier = T1 | T2 , date = 2012-01-03 ", [1], [0, 1]),
        ("date=2012-01-03..2012-01-05", [1, 2, 3], [0, 1, 2, 3, 4]),
        ("date=2012-01-07..2012-01-10,tier=T1", [5, 6], [0]),
        ("date=..2012-01-04,tier=T1", [0, 1, 2], [0]),
        ("date=2012-01,tier=T1", list(range(22)), [0]),
        ("date=2012,tier=T1", list(range(22)), [0]),
        ("date=2012-01-30..,tier=T1", [20, 21], [0]),
        ("date=2012-01-02..2012-01-13/5,tier=T1", [0, 5], [0]),
        ("date=first:2|last:1,tier=T1", [0, 1, 21], [0]),
        ("date=first:1,tier=T2..T 3", [0], [1, 2, 3]),
        ("date=first:1,tier=a..b", [0], [2]),
        ("date=first:1,tier=T%203", [0], [3]),
        ("date=first:1,tier=first:2", [0], [4]),
        ("date=first:1,tier=last:2", [0], [3, 4]),
    ],
)
def test_a_text_selects(text, days, tiers):
    """Values, ranges, steps and ends; a value that looks like grammar is a value."""
    assert chosen(text) == [days, tiers]


def test_semicolons_join():
    """A selection may have several parts, and none of it counts twice."""
    tree = parse_selection(BOTH, "date=2012-01-02,tier=T1;date=2012-01-02..2012-01-03,tier=T1", None)
    assert [tree.path(i) for i in range(tree.count)] == [[0, 0], [1, 0]]


def test_no_text_is_everything():
    """Nothing said selects all."""
    assert parse_selection(BOTH, None, None).count == 22 * 5


@pytest.mark.parametrize("text", ["", "  "])
def test_a_text_that_is_empty_is_refused(text):
    """A variable that was never set does not select all; None does."""
    with pytest.raises(PartitionError, match="is empty; leave it out for all partitions, or write date="):
        parse_selection(BOTH, text, None)


@pytest.mark.parametrize("text", [";", "tier=T1;", ";tier=T1", "tier=T1; ;tier=T2", "tier=T1;;tier=T2"])
def test_an_empty_part_is_refused(text):
    """A ';' too many does not select all, as a ',' too many does not."""
    with pytest.raises(PartitionError, match="has an empty part; ';' joins whole selections"):
        parse_selection(BOTH, text, None)


@pytest.mark.parametrize(
    ("text", "error", "remedy"),
    [
        (5, PartitionError, "is not text; write a selection as"),
        ("day=2012-01-02", PartitionError, "names 'day', and the scheme has the dimensions date, tier"),
        ("tier=T1,tier=T2", PartitionError, r"names 'tier' twice; join alternatives with '\|'"),
        ("tier=T1,T2", PartitionError, "'T2' in 'tier=T1,T2' has no '='; write tier=..., and alternatives as"),
        ("T1", PartitionError, "has no '='; write date="),
        ("date=2012-01-07", UnknownPartition, "Saturday"),
        ("tier=T9", UnknownPartition, "tier has no value 'T9', it has T1, T2"),
        ("date=2012-01-05..2012-01-03", PartitionError, r"goes backwards; write date=2012-01-03\.\.2012-01-05"),
        ("date=..2011-12-31", PartitionError, r"date=\.\.2011-12-31 is before the start .* first date is 2012-01-02"),
        (
            "!tier=T1",
            PartitionError,
            r"says what is in it; name all others, or subtract: .* - scheme.select\('tier=T1'\)",
        ),
        ("tier!=T1", PartitionError, r"would leave something out.* - scheme.select\('tier=T1'\)"),
        ("tier!=T1|T2", PartitionError, r"would leave something out.* - scheme.select\('tier=T1\|T2'\)"),
        ("Tier=T1|T2", PartitionError, r"write tier=T1\|T2$"),
        ("tier=T1|Tier=T2|a..b", PartitionError, r"names 'Tier', .* write tier=T2\|a\.\.b$"),
        ("tier=T1|date>=2012-01-03", PartitionError, r"has >=; write it as a range: date=2012-01-03\.\.$"),
        ("tier=!T1|T2", PartitionError, r"'tier=!T1' would leave something out.* - scheme.select\('tier=T1'\)"),
        ("date=!2012-01-03", PartitionError, r" - scheme.select\('date=2012-01-03'\)"),
        ("date>=2012-01-03", PartitionError, r"has >=; write it as a range: date=2012-01-03\.\."),
        ("date<=2012-01-03", PartitionError, r"has <=; write it as a range: date=\.\.2012-01-03"),
        ("tier=T2..T1", PartitionError, "goes backwards; values are in the order of the scheme"),
        (
            "date=2012-01-07..2012-01-08",
            PartitionError,
            "holds no as-of date; the nearest are 2012-01-06 and 2012-01-09",
        ),
        (
            "date=2011",
            UnknownPartition,
            "no as-of date of the scheme is in 2011; it goes from 2012-01-02 to",
        ),
        ("date=2012-02", UnknownPartition, "no as-of date of the scheme is in 2012-02; it goes from 2012-01-02"),
        (
            "date=2012-13",
            UnknownPartition,
            "a month as YYYY-MM or a year as YYYY; a range is FIRST..LAST, and the latest three are last:3",
        ),
        ("date=2012-01-02..x", PartitionError, "'x' is not a date; write it as YYYY-MM-DD"),
        ("date=2012-01-02../0", PartitionError, "a step counts from 1, such as"),
        ("date=last:0", PartitionError, "selects nothing; count from 1, such as last:3"),
    ],
)
def test_what_selects_nothing_is_refused(text, error, remedy):
    """The message quotes what was written and says what to write."""
    with pytest.raises(error, match=remedy):
        parse_selection(BOTH, text, None)


def test_a_warning_says_up_to_when_there_are_so_many():
    """A scheme has more dates than those up to until."""
    with pytest.warns(UserWarning, match="date=first:9 reaches beyond the scheme, which has 3 up to 2012-01-04; what"):
        parse_selection(BOTH, "date=first:9", date(2012, 1, 4))
    with pytest.warns(UserWarning, match="tier=last:9 reaches beyond the scheme, which has 5; what"):
        parse_selection(BOTH, "tier=last:9", date(2012, 1, 4))


def test_without_an_end_the_first_can_be_selected():
    """What counts from the end needs one; what counts from the start does not."""
    endless = (make_dimension("date", Daily(start="2012-01-02", calendar="WEEKDAYS")),)
    assert chosen("date=first:3", endless) == [[0, 1, 2]]
    assert chosen("date=last:1", endless, until=date(2012, 1, 4)) == [[2]]
    with pytest.raises(PartitionError, match="pass until="):
        parse_selection(endless, "date=last:1", None)


RANGES = st.builds(range, st.integers(0, 4), st.integers(0, 5), st.integers(1, 2)).filter(len)


@given(st.builds(range, st.integers(0, 21), st.integers(0, 22), st.integers(1, 4)).filter(len), RANGES)
def test_what_is_written_is_read(days, tiers):
    """A selection's own text selects it again, whatever its values look like."""
    tree = box([days, tiers])
    (block,) = blocks(tree)
    assert parse_selection(BOTH, block_text(BOTH, block), None) == tree


def test_a_dimension_of_which_all_is_selected_is_left_out():
    """The text is as short as can be, and never empty."""
    (block,) = blocks(parse_selection(BOTH, "date=2012-01-03", None))
    assert block_text(BOTH, block) == "date=2012-01-03"
    (block,) = blocks(parse_selection((TIERS,), None, None))
    assert block_text((TIERS,), block) == "tier=.."
