"""Selection: some keys of a scheme, by text, by set operations and by slices."""

import copy
import pickle
import tracemalloc
from collections import Counter
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowctx import (
    BusinessCalendar,
    CalendarError,
    Daily,
    Hourly,
    Monthly,
    PartitionError,
    PartitionScheme,
    UnknownPartition,
    Weekly,
)

SCHEME = PartitionScheme(
    tier=["T1", "T2", "T3"],
    date=Daily(start="2012-10-15", end="2012-11-09", calendar="XNYS"),
    symbol=["AAPL", "FB", "GOOG", "IBM"],
)
KEYS = list(SCHEME)
DAYS = [day.isoformat() for day in SCHEME.cadence]
ENDLESS = PartitionScheme(date=Daily(start="2012-01-03", calendar="XNYS"), symbol=["AAPL", "IBM"])


@st.composite
def clauses(draw):
    """A selection's text, and the keys that it should select."""
    text, kept = [], KEYS
    if draw(st.booleans()):
        chosen = draw(st.lists(st.sampled_from(["T1", "T2", "T3"]), min_size=1, max_size=3))
        text.append("tier=" + "|".join(chosen))
        kept = [key for key in kept if key.tier in chosen]
    if draw(st.booleans()):
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(DAYS) - 1)] * 2)))
        step, extra = draw(st.integers(1, 5)), draw(st.sampled_from(DAYS))
        text.append(f"date={DAYS[a]}..{DAYS[b]}/{step}|{extra}")
        kept = [key for key in kept if key.date in [*DAYS[a : b + 1 : step], extra]]
    if draw(st.booleans()):
        n = draw(st.integers(1, 5))
        text.append(f"symbol=last:{n}")
        kept = [key for key in kept if key.symbol in ["AAPL", "FB", "GOOG", "IBM"][-n:]]
    return ",".join(draw(st.permutations(text))) or None, kept


SLICES = st.slices(len(KEYS)).filter(lambda s: s.step != 0)


@given(clauses())
@settings(max_examples=40, deadline=None)
def test_a_selection_is_what_a_list_would_be(made):
    """Its keys, their number, order and positions are those of a filtered list."""
    selection, keys = SCHEME.select(made[0]), made[1]
    assert list(selection) == keys == [selection[i] for i in range(len(selection))]
    assert len(selection) == len(keys)
    assert [selection.index(key) for key in keys] == list(range(len(keys)))
    assert [key in selection for key in KEYS] == [key in keys for key in KEYS]
    assert [list(some.texts()) for some in (selection, selection[2:-1], selection[::-2])] == [
        [str(key) for key in some] for some in (keys, keys[2:-1], keys[::-2])
    ]


@given(clauses(), clauses())
@settings(max_examples=50, deadline=None)
def test_set_operations_agree_with_lists(a, b):
    """Union, intersection and difference have the keys of lists so combined, in the scheme's order."""
    left, right = SCHEME.select(a[0]), SCHEME.select(b[0])
    for made, expected in [
        (left | right, [key for key in KEYS if key in a[1] or key in b[1]]),
        (left & right, [key for key in KEYS if key in a[1] and key in b[1]]),
        (left - right, [key for key in KEYS if key in a[1] and key not in b[1]]),
    ]:
        assert list(made) == expected
        assert len(made) == len(expected)
        assert [made[i] for i in range(len(made))] == expected


@given(clauses(), SLICES, SLICES)
@settings(max_examples=60, deadline=None)
def test_slices_agree_with_lists(made, first, second):
    """A slice of a slice, backwards and with steps, is a selection with the keys of a list so sliced."""
    selection, keys = SCHEME.select(made[0])[first][second], made[1][first][second]
    assert list(selection) == keys
    assert [selection.index(key) for key in keys] == list(range(len(keys)))
    assert list(selection | selection) == [key for key in KEYS if key in keys]
    assert list(SCHEME.keys() - selection) == [key for key in KEYS if key not in keys]


@given(clauses(), clauses(), SLICES)
@settings(max_examples=60, deadline=None)
def test_one_set_of_keys_has_one_text(a, b, some):
    """The text of a selection selects it again, and is the same however the selection came about."""
    selection = (SCHEME.select(a[0]) | SCHEME.select(b[0]))[some]
    if not selection:
        assert str(selection) == "(nothing)"
        return
    again = SCHEME.select(str(selection))
    assert sorted(map(str, again)) == sorted(map(str, selection))
    assert (str(again), again.digest()) == (str(selection), selection.digest())
    halves = selection[: len(selection) // 2] | selection[len(selection) // 2 :]
    assert (str(halves), halves.digest()) == (str(selection), selection.digest())
    assert pickle.loads(pickle.dumps(selection)).digest() == selection.digest()


@given(clauses(), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_shards_share_a_selection(made, n):
    """The n slices [k::n] are disjoint and together the whole."""
    selection = SCHEME.select(made[0])
    shards = [selection[k::n] for k in range(n)]
    assert sum(map(len, shards)) == len(selection)
    union = shards[0]
    for shard in shards[1:]:
        assert not union & shard
        union = union | shard
    assert union.digest() == selection.digest()


@pytest.mark.parametrize(
    ("text", "first", "last", "count"),
    [
        ("date=2012-10-26..2012-10-31", "2012-10-26", "2012-10-31", 2),
        ("date=2012-10-27..2012-10-31", "2012-10-31", "2012-10-31", 1),  # ends need not be sessions
        ("date=..2012-10-17", "2012-10-15", "2012-10-17", 3),
        ("date=2012-11-07..", "2012-11-07", "2012-11-09", 3),
        ("date=..", "2012-10-15", "2012-11-09", 18),
        ("date=2012-10-15..2012-11-09/5", "2012-10-15", "2012-11-07", 4),
        ("date=first:3", "2012-10-15", "2012-10-17", 3),
        ("date=last:6", "2012-11-02", "2012-11-09", 6),
        ("date=last:99", "2012-10-15", "2012-11-09", 18),
        ("date=1990-01-01..2012-10-16", "2012-10-15", "2012-10-16", 2),
        (" date = 2012-10-26 | 2012-10-31 , tier = T1 ", "2012-10-26", "2012-10-31", 2),
    ],
)
def test_dates_are_selected_by_range_step_and_end(text, first, last, count):
    """Ranges include both ends, which may be left out; steps count as-of dates; first and last count from the ends."""
    one = PartitionScheme(tier=["T1"], date=SCHEME.cadence)
    selection = one.select(text)
    assert (len(selection), selection[0].date, selection[-1].date) == (count, first, last)


def test_values_are_selected_by_name_and_by_order():
    """Alternatives, ranges in the scheme's order, steps and ends work for static values too."""
    assert [key.symbol for key in SCHEME.select("symbol=FB..,tier=T1,date=2012-10-26")] == ["FB", "GOOG", "IBM"]
    assert {key.symbol for key in SCHEME.select("symbol=AAPL..IBM/2")} == {"AAPL", "GOOG"}
    assert {key.symbol for key in SCHEME.select("symbol=..FB|IBM")} == {"AAPL", "FB", "IBM"}
    assert {key.tier for key in SCHEME.select("tier=first:2")} == {"T1", "T2"}


def test_values_that_look_like_grammar_are_values_first():
    """A value that reads as a range, as first:2 or as an escape is found, and written so that it is found again."""
    odd = PartitionScheme(v=["A", "A..C", "B", "first:2", "C", "x/2", "p|q", "50%", "D", "A..E", "E"])
    assert [key.v for key in odd.select("v=A..C")] == ["A..C"]
    assert [key.v for key in odd.select("v=first:2|x/2|p%7Cq|50%25")] == ["first:2", "x/2", "p|q", "50%"]
    for selection in (odd.keys(), odd.select("v=A..D"), odd.keys()[::2], odd.keys()[1::3]):
        assert list(odd.select(str(selection))) == list(selection)


def test_a_key_s_own_text_selects_it():
    """str(key) is a selection of one."""
    for key in KEYS[::17]:
        assert list(SCHEME.select(str(key))) == [key]


def test_semicolons_join_selections():
    """What ; joins is a union, in the scheme's order and without duplicates."""
    made = SCHEME.select("tier=T2,symbol=IBM;tier=T1,symbol=FB;tier=T2")
    assert len(made) == 18 + 72
    assert [key.tier for key in made] == ["T1"] * 18 + ["T2"] * 72


def test_texts_that_mean_the_same_are_the_same():
    """Order of clauses, alternatives, explicit wholes and last: do not matter to the text."""
    same = [
        "date=2012-11-07..2012-11-09,tier=T1|T2|T3,symbol=IBM|AAPL",
        "symbol=AAPL|IBM,date=last:3",
        "date=2012-11-09|2012-11-07|2012-11-08,symbol=IBM|AAPL|IBM",
        "date=2012-11-07..,symbol=AAPL;symbol=IBM,date=2012-11-07..",
    ]
    assert {str(SCHEME.select(text)) for text in same} == {"date=2012-11-07..2012-11-09,symbol=AAPL|IBM"}
    assert len({SCHEME.select(text).digest() for text in same}) == 1


def test_a_digest_tells_what_a_text_leaves_out():
    """A symbol that joins the scheme changes the digest of a selection that takes it in, though not its text."""
    more = PartitionScheme(
        tier=SCHEME.values("tier"), date=SCHEME.cadence, symbol=["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    )
    text = "date=2012-10-26,tier=T1"
    assert str(more.select(text)) == str(SCHEME.select(text))
    assert more.select(text).digest() != SCHEME.select(text).digest()
    assert more.select(text + ",symbol=IBM").digest() == SCHEME.select(text + ",symbol=IBM").digest()


HOLIDAYS = BusinessCalendar.from_holidays("HK", ["2026-01-01"])


@pytest.mark.parametrize(
    ("cadence", "corrected", "text"),
    [
        (Daily, HOLIDAYS.with_holidays(["2026-09-10"]).with_sessions(["2026-09-12"]), "date=2026-09-01..2026-09-30"),
        (Hourly, HOLIDAYS.with_holidays(["2026-09-10"]).with_sessions(["2026-09-12"]), "date=2026-09-01..2026-09-30"),
        (Weekly, HOLIDAYS.with_holidays(["2026-09-11"]), "date=2026-09-01..2026-09-30"),
    ],
)
def test_a_digest_depends_on_each_date(cadence, corrected, text):
    """A corrected calendar changes it, also where the ends of a range and the count of its dates are what they were."""
    how = {"as_of": "last_session"} if cadence is Weekly else {}
    before, after = (
        PartitionScheme(date=cadence(start="2026-01-02", calendar=calendar, **how)).select(text)
        for calendar in (HOLIDAYS, corrected)
    )
    assert [len(before), before[0], before[-1]] == [len(after), after[0], after[-1]]
    assert before.digest() != after.digest()
    assert not after.has_digest(before.digest())


@pytest.mark.parametrize(
    ("cadence", "digest"), [(Daily, "2947b8a7355bca602ef8d076c341f0f5"), (Hourly, "7f1191419b616d4fcde341fed200d1b3")]
)
def test_a_digest_looks_up_each_date_once(monkeypatch, cadence, digest):
    """However many ranges have it: funds may have a range each."""
    asked = Counter()
    found = type(HOLIDAYS).ordinal_at
    monkeypatch.setattr(type(HOLIDAYS), "ordinal_at", lambda self, i: asked.update([i]) or found(self, i))
    scheme = PartitionScheme(date=cadence(start="2026-01-02", calendar=HOLIDAYS), fund=list("ABCDE"))
    text = ";".join(f"date=2026-09-0{n}..2026-09-3{n % 2},fund={fund}" for n, fund in enumerate("ABCDE", 1))
    text = text.replace("09-31", "09-29")
    selection = scheme.select(text)
    asked.clear()
    assert selection.digest() == digest
    middle = HOLIDAYS.index(date(2026, 9, 15))
    assert asked[middle] == 1


def test_digests_of_before_are_accepted():
    """They said of dates where a range begins and ends, and how many there are."""
    scheme = PartitionScheme(date=Daily(start="2026-01-02", calendar=HOLIDAYS), fund=["A"])
    selection = scheme.select("date=2026-09-01..2026-09-30")
    assert selection.has_digest("7a67785b0654401bfb22ab6412f2e7f1")
    assert not (selection | scheme.select("date=2026-10-01")).has_digest("7a67785b0654401bfb22ab6412f2e7f1")
    every_day = PartitionScheme(date=Daily(start="2026-01-02"), fund=["A"]).select("date=2026-09-01..2026-09-30")
    assert every_day.digest() == "2b3c90d6f72be8f0c5f3944e7b026523"


def test_without_an_end_only_what_is_open_needs_until():
    """Closed ranges, single dates and first: work on a cadence without an end; the rest takes an until."""
    assert len(ENDLESS.select("date=2012-01-03..2012-03-30")) == 124
    assert len(ENDLESS.select("date=2012-10-26")) == 2
    assert len(ENDLESS.select("date=first:3")) == 6
    assert len(ENDLESS.select("date=last:6,symbol=IBM", until="2012-10-31")) == 6
    assert ENDLESS.select("date=last:1", until=date(2012, 10, 30))[0].date == "2012-10-26"
    assert len(ENDLESS.select("date=2012-10-26..", until="2012-10-31")) == 4
    assert len(ENDLESS.select("date=2012-10-26..2012-12-31", until="2012-10-31")) == 4
    for text in (None, "symbol=IBM", "date=2012-10-26..", "date=last:6"):
        with pytest.raises(PartitionError, match="pass until="):
            ENDLESS.select(text)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("date=2012-02..2012-03", "2012-02-01", "2012-03-30"),
        ("date=2012-02-15..2012-03", "2012-02-15", "2012-03-30"),
        ("date=2012-11..2013", "2012-11-01", "2013-12-31"),
        ("date=2012-01..2012-01-05", "2012-01-03", "2012-01-05"),
        ("date=..2012-02", "2012-01-03", "2012-02-29"),
    ],
)
def test_a_range_goes_from_the_first_day_of_a_month_to_the_last_one_of_another(text, first, last, recwarn):
    """So it does with years, and a month in which the scheme begins does not reach beyond it."""
    found = ENDLESS.select(text)
    assert (found[0].date, found[-1].date) == (first, last)
    assert str(found) == str(ENDLESS.select(f"date={first}..{last}"))
    assert not recwarn.list


def test_a_range_of_months_is_of_any_cadence():
    """Of months and weeks the as-of dates count, of hours all that are in them."""
    months = PartitionScheme(month=Monthly(start="2012-01-01", as_of="last_session", calendar="XNYS"))
    assert str(months.select("month=2012-01..2012-03")) == "month=2012-01-31..2012-03-30"
    assert len(PartitionScheme(hour=Hourly(start="2012-01-01")).select("hour=2012-01..2012-02")) == 60 * 24
    assert str(PartitionScheme(week=Weekly(start="2012-01-01")).select("week=2012-01..2012-01")).endswith("2012-01-27")


def test_months_beyond_a_scheme_are_left_out_with_a_warning():
    """They hold none of its dates."""
    with pytest.warns(UserWarning, match="which starts 2012-01-03; what lies beyond is left out"):
        assert str(ENDLESS.select("date=2011-12..2012-01")) == str(ENDLESS.select("date=2012-01"))
    with pytest.raises(PartitionError, match="goes backwards; write date=2012-02..2012-03"):
        ENDLESS.select("date=2012-03..2012-02")


def test_selections_with_other_untils_combine():
    """Positions are those of the cadence, whatever the until."""
    a, b = ENDLESS.keys("2012-01-31"), ENDLESS.keys("2012-02-29")
    assert (a & b).digest() == a.digest()
    assert (b - a)[0].date == "2012-02-01"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("date=2012-10-29", "is a holiday in XNYS.*2012-10-26 and 2012-10-31"),
        ("date=2012-10-29..2012-10-30", "holds no as-of date; the nearest are 2012-10-26 and 2012-10-31"),
        ("date=2012-11-09..2012-10-15", "write date=2012-10-15..2012-11-09"),
        ("date=2012-11-10..2012-12-01", "holds no as-of date; the nearest is 2012-11-09$"),
        ("date=26.10.2012", "YYYY-MM-DD"),
        ("date=2012-10-26..soon", "'soon' is not a date; write it as YYYY-MM-DD, a month as YYYY-MM"),
        ("date=2012-10-15../0", "a step counts from 1"),
        ("date=last:0", "count from 1"),
        ("symbol=APPL", "did you mean AAPL"),
        ("symbol=IBM..AAPL", "order of the scheme"),
        ("symbol=AAPL,IBM", "alternatives as symbol=A|B"),
        ("IBM", "write tier=..."),
        ("ticker=IBM", "the dimensions tier, date, symbol"),
        ("tier=T1,tier=T2", "names 'tier' twice"),
        ("symbol=", "no value ''"),
        ("symbol=%GG", "%25"),
    ],
)
def test_what_cannot_be_selected_says_what_to_write(text, remedy):
    """Each error names the offending part and the remedy."""
    with pytest.raises(PartitionError, match=remedy):
        SCHEME.select(text)


def test_a_week_ending_on_a_saturday_names_the_friday():
    """The Friday that was probably meant is in the message."""
    scheme = PartitionScheme(week_ending=Weekly(start="2026-01-01"))
    with pytest.raises(UnknownPartition, match="2026-01-09 was probably meant"):
        scheme.select("week_ending=2026-01-10")


def test_selections_of_different_schemes_do_not_mix():
    """Combining them is an error; schemes that are equal are one."""
    other = PartitionScheme(tier=["T1"])
    with pytest.raises(PartitionError, match="different schemes"):
        SCHEME.keys() | other.keys()
    with pytest.raises(TypeError):
        SCHEME.keys() | 7
    twin = pickle.loads(pickle.dumps(SCHEME))
    assert len(twin.keys() & SCHEME.select("tier=T1")) == 72


def test_a_key_that_is_not_selected_has_no_index():
    """It says that the key exists but was not selected."""
    with pytest.raises(UnknownPartition, match="not one of the 72 selected"):
        SCHEME.select("tier=T1").index(KEYS[-1])
    with pytest.raises(IndexError, match="72 keys"):
        SCHEME.select("tier=T1")[72]


def test_a_selection_is_an_immutable_value():
    """It cannot be changed or made by hand, copies are equal in content, and its repr is short."""
    selection = SCHEME.select("tier=T1")
    with pytest.raises(AttributeError, match="immutable"):
        selection.scheme = None
    with pytest.raises(PartitionError, match=r"scheme\.select"):
        type(selection)()
    assert copy.copy(selection).digest() == selection.digest()
    assert repr(selection).startswith("<Selection: 72 keys from date=2012-10-15")
    assert repr(selection[:0]) == "<Selection: no keys>"


def test_selecting_from_a_million_keys_is_cheap():
    """Unions, differences and slices of a million keys list none of them."""
    scheme = PartitionScheme(date=Daily(start="2000-01-01", end="2027-05-18"), symbol=[f"S{i}" for i in range(100)])
    tracemalloc.start()
    try:
        made = (scheme.keys() - scheme.select("date=2012-01-01..2012-12-31,symbol=S7")) | scheme.select("date=first:9")
        assert len(made) == 1_000_000 - 366
        assert made[-1] == made[500_000:][-1] == scheme[-1]
        assert tracemalloc.get_traced_memory()[1] < 100_000
        # A strided slice differs from date to date: combining it takes a node for each of ten thousand dates.
        assert len(scheme.keys()[3::7] & scheme.select("symbol=S1")) == 1429
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "words", "count"),
    [
        ("date=2011-01-01..2012-01-05", "reaches beyond the scheme, which starts 2012-01-03", 3),
        ("date=2012-06-28..2030-01-01", "which ends 2012-06-30; what lies beyond is left out", 2),
        ("date=last:5000", "which has 129", 129),
    ],
)
def test_a_range_beyond_the_scheme_says_that_it_is_cut(text, words, count):
    """Whoever asks for dates that the scheme does not have is warned that they are left out."""
    scheme = PartitionScheme(date=Daily(start="2012-01-03", end="2012-06-30", calendar="WEEKDAYS"))
    with pytest.warns(UserWarning, match=words):
        assert len(scheme.select(text)) == count


def test_a_range_within_the_scheme_says_nothing(recwarn):
    """The scheme's own first and last day are no reason for a warning."""
    scheme = PartitionScheme(date=Daily(start="2012-01-03", end="2012-06-30", calendar="WEEKDAYS"))
    assert len(scheme.select("date=2012-01-03..2012-06-30;date=last:129;date=..2012-01-03")) == 129
    assert list(recwarn) == []


@settings(max_examples=50)
@given(st.sampled_from([("date", "fund", "tier"), ("fund", "date", "tier"), ("fund", "tier", "date")]), st.data())
def test_by_date_all_of_one_date_come_before_the_next(names, data):
    """Whatever the order of the dimensions, and which keys are selected."""
    parts = {
        "date": Daily(start="2012-01-02", end="2012-01-13", calendar="WEEKDAYS"),
        "fund": ["A", "B"],
        "tier": ["X", "Y", "Z"],
    }
    scheme = PartitionScheme(**{name: parts[name] for name in names})
    text = data.draw(st.sampled_from([None, "fund=B", "date=2012-01-03..2012-01-11/2,tier=X|Z;date=2012-01-06,fund=A"]))
    selection = scheme.select(text)[data.draw(st.integers(0, 3)) :: data.draw(st.integers(1, 3))]
    assert list(selection.by_date()) == sorted(selection, key=lambda key: key.date)


def test_hours_are_counted_from_an_hour_or_a_day():
    """The latest one is a bound as others are; what is no hour and no day is refused."""
    hours = PartitionScheme(h=Hourly(start="2026-01-02"))
    for latest in ("2026-01-05T10:00+00:00", datetime(2026, 1, 5, 10, tzinfo=UTC)):
        assert str(hours.select("h=last:2", latest=latest)) == "h=2026-01-05T09:00+00:00|2026-01-05T10:00+00:00"
    assert hours.select("h=last:2", latest="2026-01-05")[-1].h == "2026-01-05T23:00+00:00"
    with pytest.raises(CalendarError, match="latest='10:00' is not a date"):
        hours.select("h=last:2", latest="10:00")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "date=2012-10-15..2012-10-18",
        "date=2012-10-15|2012-10-16|2012-10-19",
        "date=2012-10",
        "date=2012",
        "date=..2012-11-09",
        "date=first:9",
        "date=2012-10-15..2012-10-16;date=2012-11-09",
    ],
)
def test_nothing_after_until_is_selected(text):
    """Whatever the form of a selection, until is its last as-of date; also of one that is made already."""
    expected = [key for key in SCHEME.select(text) if key.date <= "2012-10-16"]
    assert expected
    assert list(SCHEME.select(text, until="2012-10-16")) == expected
    assert list(SCHEME.select(text).up_to("2012-10-16")) == expected


@pytest.mark.parametrize(
    "text", [None, "date=2012-10-17", "date=2012-10-17|2012-10-18", "date=2012-11", "date=2012-10-17.."]
)
def test_what_holds_nothing_up_to_until_is_refused(text):
    """A selection of nothing is an error that says so, also of a single date that was named."""
    until = "2012-10-14" if text is None else "2012-10-16"
    with pytest.raises(PartitionError, match=f"holds no as-of date up to {until}"):
        SCHEME.select(text, until=until)
    assert SCHEME.count("2012-10-14") == 0


@pytest.mark.parametrize("later", ["2012-11", "2012-11-01", "2012-11-01..2012-11-09", "2012-11-01..", "2012-11-01../2"])
@pytest.mark.parametrize("joined", ["|", ";date="])
def test_what_is_after_until_does_not_spoil_what_is_before(later, joined):
    """Of several alternatives, one may hold nothing up to it; one that is after the end of the scheme is a slip."""
    text = f"date=2012-10-15{joined}"
    assert str(SCHEME.select(text + later, until="2012-10-16")) == "date=2012-10-15"
    with pytest.raises(PartitionError, match="date=2013-01-01.. holds no as-of date; the nearest is 2012-11-09"):
        SCHEME.select(f"{text}2013-01-01..", until="2012-10-16")


def test_until_is_the_as_of_date_of_weeks_months_and_hours():
    """A month is named by its last session, which is what until says; of hours it is their day."""
    months = PartitionScheme(month=Monthly(start="2012-01-01", end="2012-12-31", as_of="last_session", calendar="XNYS"))
    assert (
        str(months.select("month=2012-02-29|2012-03-30|2012-06-29", until="2012-03-30"))
        == "month=2012-02-29|2012-03-30"
    )
    assert str(months.select("month=2012-02-29|2012-03-30", until="2012-03-29")) == "month=2012-02-29"
    weeks = PartitionScheme(week=Weekly(start="2026-01-01", end="2026-12-31"))
    assert str(weeks.select("week=2026-01-09|2026-01-16", until="2026-01-15")) == "week=2026-01-09"
    hours = PartitionScheme(hour=Hourly(start="2026-01-01", end="2026-01-31"))
    assert len(hours.select("hour=2026-01", until="2026-01-02")) == 48


def test_until_beyond_a_calendar_cuts_nothing():
    """What is selected by its dates needs no date of the calendar after them."""
    assert len(ENDLESS.select("date=2012-10-26", until="2099-12-31")) == 2


def test_until_of_a_scheme_without_dates_is_refused():
    """It could cut nothing, and would be ignored in silence."""
    with pytest.raises(PartitionError, match="the scheme has no dates; its dimensions are tier"):
        PartitionScheme(tier=["T1"]).select("tier=T1", until="2026-01-09")


def test_latest_is_where_last_counts_from():
    """It cuts nothing that was named; until does."""
    text = "date=last:1,symbol=IBM;date=2012-11-09,symbol=IBM"
    assert str(ENDLESS.select(text, latest="2012-10-31")) == "date=2012-10-31|2012-11-09,symbol=IBM"
    assert str(ENDLESS.select(text, until="2012-10-31", latest="2012-12-31")) == "date=2012-10-31,symbol=IBM"
    with pytest.raises(PartitionError, match="holds no as-of date up to 2012-10-31, which latest= says is the last"):
        ENDLESS.select("date=2012-11-01..", latest="2012-10-31")
