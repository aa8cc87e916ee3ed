"""The names and types of a workflow's parameters."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from choices import Cap, Cut, Depth, Moment, Opening, Pause, Rate
from flowctx import ContextError, Workflow, WorkflowError, resume, run
from flowctx.core.data.encoding import to_json
from flowctx.core.workflow.parameters import Parameter, slip_hint, typed_value


class Side(Enum):
    """A choice of text."""

    BUY = "buy"
    SELL = "sell"


class Level(IntEnum):
    """A choice of numbers."""

    LOW = 1
    HIGH = 2


DEFAULTS = {
    "limit": 3,
    "rate": 0.5,
    "exact": Decimal("1.10"),
    "full": False,
    "venue": "XNYS",
    "since": date(2012, 1, 3),
    "at": datetime(2012, 1, 3, 9, 30, tzinfo=UTC),
    "open": time(9, 30),
    "wait": timedelta(hours=1),
    "key": UUID(int=7),
    "side": Side.BUY,
    "level": Level.LOW,
    "rates": Rate.LOW,
    "cut": Cut.FIRST,
    "moment": Moment.EARLY,
    "opening": Opening.EARLY,
    "pause": Pause.SHORT,
    "cap": Cap.NONE,
    "depth": Depth.ALL,
    "names": ["a"],
    "more": {"a": 1},
    "any": None,
}


def flow(**how):
    """Return a workflow that declares a parameter of each type."""
    made = Workflow("typed", params=DEFAULTS, **how)
    made.step("only")(lambda ctx: {"params": ctx.params})
    return made


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("limit", "7", 7),
        ("rate", "1", 1.0),
        ("rate", "nan", None),
        ("exact", "1.10", Decimal("1.10")),
        ("exact", '{"$decimal": "2.50"}', Decimal("2.50")),
        ("full", "true", True),
        ("venue", "0123", "0123"),
        ("venue", '"quoted"', "quoted"),
        ("since", "2012-10-26", date(2012, 10, 26)),
        ("since", '{"$date": "2012-10-26"}', date(2012, 10, 26)),
        ("at", "2012-10-26T16:00:00-04:00", datetime(2012, 10, 26, 20, tzinfo=UTC)),
        ("open", "16:00", time(16)),
        ("wait", "P1DT60S", timedelta(days=1, minutes=1)),
        ("wait", "PT1H30M0.5S", timedelta(hours=1, minutes=30, seconds=0.5)),
        ("key", str(UUID(int=9)), UUID(int=9)),
        ("side", "sell", "sell"),
        ("level", "2", 2),
        ("rates", "0.50", Decimal("0.50")),
        ("cut", "2026-01-06", date(2026, 1, 6)),
        ("moment", "2026-01-05T16:30:00Z", datetime(2026, 1, 5, 16, 30, tzinfo=UTC)),
        ("opening", "16:00", time(16)),
        ("pause", "PT2H", timedelta(hours=2)),
        ("pause", "2:00:00", timedelta(hours=2)),
        ("cap", "100", 100),
        ("depth", "1", 1),
        ("depth", "null", None),
        ("names", '["b", "c"]', ["b", "c"]),
        ("more", '{"b": {"$decimal": "1.0"}}', {"b": Decimal("1.0")}),
        ("any", "3", 3),
        ("any", "text", "text"),
    ],
)
def test_typed_text_is_read_as_the_type_of_the_default(name, text, value):
    """What somebody types becomes a value of the declared type, exactly as typed."""
    found = flow().parameters[name].read_text(text)
    assert found == value or (value is None and found != found)
    assert type(found) is type(value) or value is None or name in ("names", "more")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("limit", "abc", "it must be a whole number, as '3'"),
        ("limit", 3.5, "it must be a whole number"),
        ("limit", True, "it must be a whole number"),
        ("limit", None, "it must be a whole number"),
        ("rate", "fast", "it must be a number"),
        ("rate", 2**60 + 1, "it must be a number"),
        ("exact", "1,10", "it must be a decimal number, as '1.10'"),
        ("full", "yes", "it must be true or false"),
        ("full", 1, "it must be true or false"),
        ("venue", 12, "it must be text, as 'XNYS'"),
        ("since", "26/10/2012", "it must be a date, as '2012-01-03'"),
        ("since", "20121026", "it must be a date"),
        ("since", datetime(2012, 1, 1, tzinfo=UTC), "it must be a date"),
        ("at", "2012-10-26T16:00", "it must be a time with its offset"),
        ("wait", "an hour", "a duration, as 'P0DT3600S'"),
        ("side", "hold", "it must be 'buy' or 'sell'"),
        ("level", 3, "it must be 1 or 2"),
        ("cap", "much", "it must be None or 100"),
        ("depth", "deep", "it must be 'all' or 1 or None"),
        ("names", "b", "it must be a list"),
        ("more", [1], "it must be an object"),
    ],
)
def test_another_type_is_refused_before_anything_runs(name, value, words):
    """A value that is none of the declared type is named, with what it must be."""
    with pytest.raises(ContextError, match=words):
        run(flow(), params={name: value})


@given(st.sampled_from(sorted(DEFAULTS)), st.data())
def test_a_default_survives_every_way_in(name, data):
    """The default is read back from JSON, from a form and from its own plain value."""
    parameter = Parameter.of(name, DEFAULTS[name])
    ways = [parameter.default, typed_value(json.dumps(to_json(parameter.default))), parameter.form_default]
    assert parameter.read(data.draw(st.sampled_from(ways))) == parameter.default


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimals_keep_every_digit(value):
    """A decimal that is typed is the decimal that is read, trailing zeros too."""
    assert str(Parameter.of("exact", Decimal(1)).read_text(str(value))) == str(value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("limmit", "has no parameter 'limmit'; did you mean 'limit'? It has limit"),
        ("zzz", "has no parameter 'zzz'; it has limit"),
        ("bach_id", "did you mean 'batch_id', which says who the run is"),
        ("asof_date", "did you mean 'as_of_date'"),
        ("partiton", "did you mean 'partition'"),
        ("resumefrom", "did you mean 'resume_from'"),
        ("flowctx/batch_id", "did you mean 'batch_id'"),
        ("flowctx/bach_id", "did you mean 'batch_id'"),
        ("as_of", "did you mean 'as_of_date'"),
        ("as-of", "did you mean 'as_of_date'"),
        ("known_at", "is it to say as of when inputs are read?"),
    ],
)
def test_unknown_names_are_refused(name, words):
    """A name that the workflow does not have is refused, with the one that may have been meant."""
    with pytest.raises(ContextError, match=words.replace("?", r"\?")):
        run(flow(), params={name: 1})


def test_a_workflow_may_take_any():
    """With extra_params, or where nothing is declared, a run may have others; a slip of a reserved name still not."""
    assert run(flow(extra_params=True), params={"zzz": 1}).context.params["zzz"] == 1
    bare = Workflow("bare")
    bare.step("only")(lambda ctx: None)
    assert run(bare, params={"zzz": 1}).context.params == {"zzz": 1}
    for name in ("bach_id", "flowctx/batch_id"):
        with pytest.raises(ContextError, match="did you mean 'batch_id'"):
            run(bare, params={name: "b"})
    for name in ("known_at", "knwon_at", "known-at"):
        with pytest.raises(ContextError, match=r"run\(known_at=...\) and flowctx run --known-at alone take that"):
            run(bare, params={name: "2026-01-09T18:00:00Z"})


def test_a_declared_name_is_nobodys_slip():
    """A workflow may have a parameter that looks like a reserved name: it says so by declaring it."""
    own = Workflow("own", params={"partitions": 4})
    own.step("only")(lambda ctx: None)
    assert run(own, params={"partitions": 5}).context.params == {"partitions": 5}


def test_ordinary_names_are_no_slips():
    """Names that people use are not taken for reserved ones."""
    names = [
        "limit",
        "date",
        "batch_size",
        "run_id",
        "trace",
        "step",
        "since",
        "from_date",
        "captures",
        "known",
        "knows_it",
        "key",
        "flowctx",
    ]
    assert [name for name in names if slip_hint(name)] == []


def test_what_a_step_wrote_may_be_set_when_a_run_goes_on(tmp_path):
    """A resumed run takes parameters that its steps wrote, and refuses others."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    made = Workflow("goes_on", params={"fix": 0})
    made.step("load")(lambda ctx: __import__("flowctx").StepResult.ok({}, context_updates={"cursor": 7}))
    made.step("check")(lambda ctx: {"n": ctx.params["cursor"] // ctx.params["fix"]})
    failed = run(made, ledger=url)
    with pytest.raises(ContextError, match="did you mean 'cursor'"):
        resume(failed.run_id, made, params={"cursr": 8}, ledger=url)
    done = resume(failed.run_id, made, params={"cursor": 8, "fix": "2"}, ledger=url)
    assert done.context.get_output("check", "n") == 4


def test_defaults_are_checked_when_declared():
    """A default that is no plain data is refused where the workflow is made."""
    with pytest.raises(WorkflowError, match="params"):
        Workflow("wrong", params={"x": object()})
