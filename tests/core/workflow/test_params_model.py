"""Parameters may be declared as a dataclass, a msgspec Struct or a pydantic model, which checks those of each run."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated

import msgspec
import pydantic
import pytest

from flowctx import ContextError, Workflow, WorkflowError, run


class Mode(Enum):
    """Some choices."""

    FULL = "full"
    PART = "part"


@dataclass(frozen=True)
class AsDataclass:
    """The parameters as a dataclass."""

    limit: Annotated[int, msgspec.Meta(ge=0)] = 3
    since: date | None = None
    rate: Decimal = Decimal("1.10")
    mode: Mode = Mode.FULL


class AsStruct(msgspec.Struct, rename="camel"):
    """The same as a Struct, whose names in JSON are others."""

    limit: Annotated[int, msgspec.Meta(ge=0)] = 3
    since: date | None = None
    rate: Decimal = Decimal("1.10")
    mode: Mode = Mode.FULL


class AsModel(pydantic.BaseModel):
    """The same as a model of pydantic."""

    limit: int = pydantic.Field(3, ge=0)
    since: date | None = None
    rate: Decimal = Decimal("1.10")
    mode: Mode = Mode.FULL


class Aliased(pydantic.BaseModel):
    """A model whose fields have other names in JSON, of which one is that of another field."""

    rows: int = pydantic.Field(3, alias="maxRows")
    first: int = pydantic.Field(1, validation_alias="rows")


class Inner(msgspec.Struct, rename="camel"):
    """A record within the parameters, whose names in JSON are others."""

    max_rows: int = 3


class Outer(msgspec.Struct):
    """Parameters with records in them."""

    one: Inner = msgspec.field(default_factory=Inner)
    perhaps: Inner | None = None
    many: list[Inner] = msgspec.field(default_factory=list)
    named: dict[str, Annotated[Inner, msgspec.Meta(title="some", extra_json_schema={"x": 1})]] = msgspec.field(
        default_factory=dict
    )
    pair: tuple[Inner, int] = msgspec.field(default_factory=lambda: (Inner(), 1))


class ByCount(msgspec.Struct, tag=True):
    """One way to limit."""

    most: int = 3


class ByShare(msgspec.Struct, tag=True):
    """Another one, with the same field."""

    most: float = 0.5


class Tagged(msgspec.Struct, tag="limits"):
    """Parameters that hold one of a union, which its tag tells."""

    limit: ByCount | ByShare = msgspec.field(default_factory=ByShare)
    more: list[ByCount | ByShare] = msgspec.field(default_factory=list)


KINDS = [AsDataclass, AsStruct, AsModel]


def flow_of(params):
    flow = Workflow("typed", params=params)
    flow.step("only")(lambda ctx: {"params": ctx.params})
    return flow


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_have_the_types_of_the_fields(kind):
    """Defaults and types are those of the fields; text is read as the type of a field without a default, too."""
    flow = flow_of(kind)
    assert run(flow).context.params == {"limit": 3, "since": None, "rate": Decimal("1.10"), "mode": "full"}
    set_to = run(flow, params={"limit": "4", "since": "2012-10-26", "mode": "part"}).context.get_output(
        "only", "params"
    )
    assert set_to == {"limit": 4, "since": date(2012, 10, 26), "rate": Decimal("1.10"), "mode": "part"}
    assert flow_of(kind(limit=7)).params["limit"] == 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"limit": -1}, "the parameters are no As.*0"),
        ({"since": "26/10/2012"}, "the parameters are no As.*since.*"),
        ({"limit": "abc"}, "it must be a whole number"),
        ({"mode": "half"}, "it must be 'full' or 'part'"),
        ({"limmit": 4}, "did you mean 'limit'"),
    ],
)
def test_what_is_not_of_the_type_is_refused(kind, params, words):
    """A value that the type does not allow is refused before the first step, in one line."""
    with pytest.raises(ContextError, match=f"^[^\n]*{words}[^\n]*$"):
        run(flow_of(kind), params=params)


def test_a_type_that_checks_itself_is_heard():
    """What ``__post_init__`` refuses is refused; a type that refuses its own defaults is no declaration."""

    @dataclass
    class Span:
        first: int = 1
        last: int = 2

        def __post_init__(self):
            if self.first > self.last:
                raise ValueError(f"first={self.first} is after last={self.last}")

    with pytest.raises(ContextError, match="the parameters are no Span: first=3 is after last=2"):
        run(flow_of(Span), params={"first": 3})


def test_a_field_with_an_alias_is_called_by_its_name():
    """Neither the default of an instance nor a value of a run is lost, whatever the field is called in JSON."""
    assert run(flow_of(Aliased(maxRows=7))).context.params == {"rows": 7, "first": 1}
    assert run(flow_of(Aliased), params={"rows": 9, "first": "4"}).context.params == {"rows": 9, "first": 4}


def test_a_model_with_aliases_that_takes_no_names_is_refused():
    """A pydantic before 2.11 passes values by their aliases alone."""

    class Older(Aliased):
        @classmethod
        def model_validate(cls, obj):
            return super().model_validate(obj)

    with pytest.raises(WorkflowError, match=r"its fields have aliases, which needs pydantic 2\.11 or later"):
        Workflow("typed", params=Older)


def test_records_within_the_parameters_are_called_by_the_names_of_their_fields():
    """Default and value of a renamed field are kept, however deep it is; what is called as in JSON is read, too."""
    assert run(flow_of(Outer(one=Inner(max_rows=7)))).context.params["one"] == {"max_rows": 7}
    nine = {"max_rows": 9}
    passed = {"one": nine, "perhaps": nine, "many": [nine], "named": {"a": nine}, "pair": [nine, 2]}
    assert run(flow_of(Outer), params=passed).context.params == passed
    assert run(flow_of(Outer), params={"one": {"maxRows": 9}}).context.params["one"] == nine


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"one": {"max_row": 9}}, "one.max_row is no field of Inner; did you mean 'max_rows'"),
        ({"many": [{}, {"zzz": 9}]}, r"many\[1\].zzz is no field of Inner; it has max_rows"),
        ({"named": {"a": {"max_row": 9}}}, "named.a.max_row is no field of Inner"),
        ({"pair": [{}, 1, 2]}, "the parameters are no Outer: .*length 2"),
    ],
)
def test_what_a_record_has_no_field_for_is_refused(params, words):
    """A slip within a record is told; it vanished."""
    with pytest.raises(ContextError, match=words):
        run(flow_of(Outer), params=params)


@dataclass
class Required:
    """A field without a default."""

    limit: int


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (Required, r"Required has fields without a default; give each one, or pass an instance: params=Required\("),
        (3, "3 is no dict, dataclass, msgspec Struct or pydantic model"),
        (AsDataclass(limit=-1), "the parameters are no AsDataclass"),
    ],
)
def test_what_cannot_be_declared_is_refused(params, words):
    """A declaration needs defaults, of its own types."""
    with pytest.raises(WorkflowError, match=words):
        Workflow("typed", params=params)
    assert Workflow("typed", params=Required(limit=3)).params == {"limit": 3}


def test_pydantic_is_never_imported():
    """A workflow whose parameters are a dataclass needs no pydantic."""
    code = (
        "import sys, dataclasses; from flowctx import Workflow\n"
        "P = dataclasses.make_dataclass('P', [('limit', int, 3)]); Workflow('w', params=P)\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_records_of_a_union_keep_their_tags():
    """Of several records, the default and what is passed stay what they are."""
    flow = flow_of(Tagged)
    assert flow.params["limit"] == {"type": "ByShare", "most": 0.5}
    found = run(flow, params={"more": [{"type": "ByCount", "most": 7}, ByShare(0.1)]}).context.get_output(
        "only", "params"
    )
    assert msgspec.convert({"type": "limits", **found}, Tagged) == Tagged(more=[ByCount(7), ByShare(0.1)])
    with pytest.raises(ContextError, match="the parameters are no Tagged: .*type"):
        run(flow, params={"limit": {"most": 7}})
