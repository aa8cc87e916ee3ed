"""Sets of paths as trees: whatever is asked of one agrees with a plain set of tuples."""

import itertools
import random
import sys

from hypothesis import given
from hypothesis import strategies as st

from flowctx.core.partitions.index_tree import POINT, Tree, blocks, box, combine, tree_over, union

RANGES = st.builds(range, st.integers(0, 6), st.integers(1, 9), st.integers(1, 3))


def paths(tree):
    """Return the paths of a tree in order, as a list would have them."""
    return [] if tree is None else [tuple(tree.path(i)) for i in range(tree.count)]


@st.composite
def trees(draw):
    """A tree of two dimensions made of boxes, or none, and its paths."""
    tree, kept = None, set()
    for ranges in draw(st.lists(st.tuples(RANGES, RANGES), max_size=4)):
        tree = combine(tree, box(ranges), lambda a, b: a or b)
        kept |= set(itertools.product(*ranges))
    return tree, sorted(kept)


@given(trees())
def test_paths_are_in_order_and_numbered(made):
    """A tree has the paths of its boxes, once each, in order; a position and its path are inverse."""
    tree, kept = made
    assert paths(tree) == kept
    if tree is not None:
        assert [tree.position(path) for path in kept] == list(range(len(kept)))


@given(trees(), st.tuples(st.integers(-1, 10), st.integers(-1, 10)))
def test_a_path_outside_has_no_position(made, path):
    """A path has a position if and only if it is in the set."""
    tree, kept = made
    if tree is not None:
        assert (tree.position(path) is not None) == (path in kept)


@given(trees(), trees(), st.sampled_from(["or", "and", "minus", "xor"]))
def test_sets_combine(one, other, how):
    """Union, intersection, difference and symmetric difference are those of plain sets."""
    keep, plain = {
        "or": (lambda a, b: a or b, set.union),
        "and": (lambda a, b: a and b, set.intersection),
        "minus": (lambda a, b: a and not b, set.difference),
        "xor": (lambda a, b: a != b, set.symmetric_difference),
    }[how]
    assert paths(combine(one[0], other[0], keep)) == sorted(plain(set(one[1]), set(other[1])))


@given(trees(), st.data())
def test_one_set_has_one_tree(made, data):
    """However a set was put together, its tree and its hash are the same."""
    tree, kept = made
    again = None
    for path in data.draw(st.permutations(kept)):
        again = combine(again, box([range(index, index + 1) for index in path]), lambda a, b: a or b)
    assert again == tree
    assert hash(again) == hash(tree)


@given(trees(), st.integers(-2, 30), st.integers(-2, 30))
def test_a_cut_is_a_slice(made, low, high):
    """The paths at some positions are those of a list."""
    tree, kept = made
    if tree is not None:
        assert paths(tree.cut(low, high)) == kept[max(0, low) : max(0, high)]


@given(trees(), st.integers(1, 7), st.data())
def test_a_stride_takes_every_so_many(made, step, data):
    """Every n-th path, from any of the first n on."""
    tree, kept = made
    first = data.draw(st.integers(0, step - 1))
    if tree is not None:
        assert paths(tree.stride(first, step)) == kept[first::step]


@given(trees())
def test_blocks_are_the_set(made):
    """The products of runs make up the set, each path once."""
    tree, kept = made
    found = [] if tree is None else list(blocks(tree))
    made_of = [path for block in found for path in itertools.product(*(itertools.chain(*runs) for runs in block))]
    assert sorted(made_of) == kept


@given(st.lists(RANGES, max_size=5))
def test_ranges_may_overlap(ranges):
    """A dimension takes ranges in any order; what they share counts once."""
    assert paths(tree_over(ranges)) == [(index,) for index in sorted(set().union(*ranges))]


def test_every_third_index_is_one_run():
    """Evenly spaced indexes stay one run, so that a long selection takes no memory for each of its keys."""
    assert tree_over([range(0, 3000, 3)]).runs[0][0] == range(0, 2998, 3)
    assert len(tree_over([range(0, 3000, 3)]).runs) == 1


def test_the_tree_without_dimensions_has_one_path():
    """It is the end of every branch; a box with an empty range has no path at all."""
    assert (POINT.count, POINT.path(0), box([])) == (1, [], POINT)
    assert box([range(3), range(0)]) is None


def test_a_tree_equals_trees_only():
    """Another kind of value is never equal to it."""
    assert Tree(()) == POINT
    assert box([range(2)]) != [(0,), (1,)]


@given(st.lists(trees(), max_size=7))
def test_many_sets_unite_as_sets_do(some):
    """The union of any number of sets, empty ones among them, has the paths of all, and is the one tree for them."""
    united = union(tree for tree, _ in some)
    assert paths(united) == sorted(set().union(*(found for _, found in some)))
    one_by_one = None
    for tree, _ in some:
        one_by_one = combine(one_by_one, tree, lambda a, b: a or b)
    assert united == one_by_one


def calls_to_unite(count):
    """Return how many calls it takes to unite so many sets of one path each."""
    rng = random.Random(1)
    some = [box([range(i, i + 1) for i in (rng.randrange(10_000), rng.randrange(500))]) for _ in range(count)]
    calls = [0]
    sys.setprofile(lambda frame, event, arg: calls.__setitem__(0, calls[0] + (event == "call")))
    try:
        union(some)
    finally:
        sys.setprofile(None)
    return calls[0]


def test_the_work_of_a_union_grows_with_what_is_united():
    """Eight times as many blocks take about eight times the work, and not sixty-four times."""
    assert calls_to_unite(1600) < 14 * calls_to_unite(200)
