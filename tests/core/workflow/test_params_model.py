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
