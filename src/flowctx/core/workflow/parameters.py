"""A workflow's parameters: their names, and the types that their defaults give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any
from uuid import UUID

from flowctx.core.data.encoding import from_json, to_json
from flowctx.core.data.plain import freeze
from flowctx.core.data.secrets import without_secrets
from flowctx.core.errors import ContextError, FlowctxError
from flowctx.core.suggestions import SLIP, nearest
from flowctx.core.workflow.run_request import RESERVED_NAMES, TAG_PREFIX, check_param_names

_INT = re.compile(r"[+-]?[0-9]+\Z")
_DURATION = re.compile(r"P(?:(-?\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6}))?S)?)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
#: What forms show, and take, as text.
SHOWN_AS_TEXT = (Decimal, date, datetime, time, timedelta, UUID)
#: Our namespace on Dagster, squeezed: a parameter, or a key of Airflow's conf, has none.
_NAMESPACE = TAG_PREFIX.rstrip("/")
#: How like another a squeezed name is that may be a slip of it.
_NEAR = 0.85
#: Names, squeezed, that say in other words who a run is.
_OTHER_WORDS = {"asof": "as_of_date"}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A declared parameter: its default, and what a run may set it to."""

    #: Its name.
    name: str
    #: Its default, as plain data.
    default: Any
    #: The type of the default; ``NoneType`` takes anything, or any of the choices.
    kind: type
    #: The values of the enum that the default is a member of, if it is one.
    choices: tuple[Any, ...] = ()

    @classmethod
    def of(cls, name: str, default: Any) -> Parameter:
        """Declare a parameter by its default.

        Raises:
            PlainDataError: The default is no plain data.
        """
        plain = freeze(default, f"params[{name!r}]")
        choices = tuple(freeze(member.value, name) for member in type(default)) if isinstance(default, Enum) else ()
        kind = next((kind for kind in (dict, list) if isinstance(plain, kind)), type(plain))
        if len({*map(type, choices)}) > 1:
            kind = type(None)
        return cls(name=name, default=plain, kind=kind, choices=choices)

    def __repr__(self) -> str:
        facts = {f.name: getattr(self, f.name) for f in fields(self)}
        facts["default"] = without_secrets({self.name: self.default})[self.name]
        return f"Parameter({', '.join(f'{name}={value!r}' for name, value in facts.items())})"

    @property
    def form_default(self) -> Any:
        """The default as an engine's form shows it: JSON, with text for dates, times, decimals and UUIDs.

        Example:
            >>> Parameter.of("since", date(2012, 1, 3)).form_default
            '2012-01-03'
        """
        return _in_form(self.default)

    @property
    def form_choices(self) -> list[Any]:
        """The values of the enum as an engine's form shows them, then, where they differ, as JSON has them.

        Example:
            >>> Parameter(name="rate", default=Decimal("0.1"), kind=Decimal, choices=(Decimal("0.1"),)).form_choices
            ['0.1', {'$decimal': '0.1'}]
        """
        shown = [_in_form(choice) for choice in self.choices]
        return shown + [written for choice in self.choices if (written := to_json(choice)) not in shown]

    def read(self, value: Any) -> Any:
        """Return a value as one of the parameter's type: text, and JSON's numbers, are read as it.

        Raises:
            ContextError: The value is none of that type.
            PlainDataError: The value is no plain data.

        Example:
            >>> Parameter.of("since", date(2012, 1, 3)).read("2012-10-26")
            datetime.date(2012, 10, 26)
        """
        plain = freeze(value, f"params[{self.name!r}]")
        if self.choices:
            return self._choice(plain)
        if self.kind in (type(None), type(plain)):
            return plain
        read = _read_as(self.kind, plain)
        if read is not None:
            return read
        if self.kind in (dict, list) and isinstance(plain, self.kind):
            return plain
        raise ContextError(f"params[{self.name!r}] is {plain!r}; it must be {_WORDS[self.kind]}, as {self._example()}")

    def read_text(self, text: str) -> Any:
        """Return what somebody typed: text for a text parameter, else JSON or the text of the type.

        Raises:
            ContextError: It is none of that type.
        """
        if self.kind is str and not self.choices and not text.startswith('"'):
            return text
        value = typed_value(text)
        if self.kind in (int, float, Decimal, bool) or (self.choices and not isinstance(value, str)):
            # 1.10 stays what was typed; JSON would have made a float of it
            value = text if isinstance(value, (int, float)) else value
        return self.read(value)

    def _choice(self, value: Any) -> Any:
        for choice in self.choices:
            if type(choice) is type(value) and choice == value:
                return choice
        for choice in self.choices:
            read = _read_as(type(choice), value)
            if read is not None and choice == read:
                return choice
            if isinstance(value, str) and not isinstance(choice, str) and str(choice) == value:
                return choice
        known = " or ".join(repr(choice) for choice in self.choices)
        raise ContextError(f"params[{self.name!r}] is {value!r}; it must be {known}")

    def _example(self) -> str:
        if self.kind is timedelta:
            return repr(self.form_default.replace(".000000S", "S"))
        return repr(self.default) if self.kind in (dict, list, str) else f"{str(self.default)!r}"


def _in_form(value: Any) -> Any:
    written = to_json(value)
    if isinstance(value, SHOWN_AS_TEXT) and isinstance(written, dict):
        (written,) = written.values()
    return written


def _read_as(kind: type, value: Any) -> Any:
    """Return a value that is read as a type, or ``None`` if it is none of it."""
    read = _READERS.get(kind)
    if read is None or value is None:
        return None
    try:
        return read(value)
    except (ValueError, TypeError, InvalidOperation, OverflowError, FlowctxError):
        return None


def typed_value(text: str) -> Any:
    """Return JSON that somebody typed, tagged values (``{"$date": "2012-10-26"}``) read; other text as it is.

    Example:
        >>> typed_value('{"$decimal": "1.10"}'), typed_value("[1, 2]"), typed_value("IBM")
        (Decimal('1.10'), [1, 2], 'IBM')
    """
    import json

    try:
        return from_json(json.loads(text), "value")
    except (json.JSONDecodeError, RecursionError):
        return text


def declared(params: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the parameters that a workflow declares.

    Raises:
        ContextError: A name that is reserved, or so like one that either may be meant.
        PlainDataError: A default that is no plain data, or a name that is no text.
    """
    freeze(dict(params), "params")
    check_param_names(params)
    return {name: Parameter.of(name, default) for name, default in params.items()}


def check_known(names: Iterable[str], known: Iterable[str], *, extra: bool, what: str) -> None:
    """Refuse parameters that the workflow does not have, and names that may be meant to say more.

    Args:
        names: The names that somebody passed.
        known: Those that there are.
        extra: Whether others may be passed as well.
        what: Whose they are, such as ``workflow 'prices'``.

    Raises:
        ContextError: There is one; the message says which name may have been meant.
    """
    there = list(dict.fromkeys(known))
    for name in names:
        if name in there or name in RESERVED_NAMES:
            continue
        if (hint := slip_hint(name)) is not None and not nearest(name, there, cutoff=SLIP):
            raise ContextError(
                f"{what} has no parameter {name!r}; {hint} If not, declare it: Workflow(params={{{name!r}: ...}})"
            )
        if not extra:
            near = nearest(name, there)
            hint = f"did you mean {near[0]!r}? It" if near else "it"
            own = [one for one in there if one not in RESERVED_NAMES]
            raise ContextError(
                f"{what} has no parameter {name!r}; {hint} has {', '.join(own)}; declare it, or let runs have any: "
                "Workflow(..., extra_params=True)"
            )


def near_reserved(name: str) -> str | None:
    """Return the reserved name that a name is a slip of, if it looks like one.

    Example:
        >>> near_reserved("bach_id"), near_reserved("asof_date"), near_reserved("limit")
        ('batch_id', 'as_of_date', None)
        >>> near_reserved("flowctx/batch_id"), near_reserved("as_of")
        ('batch_id', 'as_of_date')
    """
    if name in RESERVED_NAMES:
        return None
    plain = {reserved.replace("_", ""): reserved for reserved in RESERVED_NAMES} | _OTHER_WORDS
    near = nearest(_squeezed(name), plain, cutoff=_NEAR)
    return plain[near[0]] if near else None


def slip_hint(name: str, prefix: str = "") -> str | None:
    """Return what a name may have been meant for, if it looks like more than a parameter.

    Args:
        name: The name.
        prefix: What reserved names begin with where it stands.

    Example:
        >>> slip_hint("bach_id"), slip_hint("limit")
        ("did you mean 'batch_id', which says who the run is?", None)
        >>> slip_hint("known_at")
        'is it to say as of when inputs are read? run(known_at=...) and flowctx run --known-at alone take that.'
    """
    slip = near_reserved(name)
    if slip is not None:
        return f"did you mean {prefix + slip!r}, which says who the run is?"
    if nearest(_squeezed(name), ["knownat"], cutoff=_NEAR):
        return "is it to say as of when inputs are read? run(known_at=...) and flowctx run --known-at alone take that."
    return None


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix(_NAMESPACE)


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(value)


def _int(value: Any) -> int:
    if isinstance(value, str) and _INT.match(value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError(value)
    number = float(value)
    if (isinstance(value, int) and number != value) or (isinstance(value, Decimal) and Decimal(repr(number)) != value):
        raise ValueError(value)
    return number


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError(value)
    return Decimal(repr(value) if isinstance(value, float) else value)  # the digits that somebody wrote


def _date(value: Any) -> date:
    if isinstance(value, str) and _DATE.match(value):
        return date.fromisoformat(value)
    raise ValueError(value)


def _text(value: Any) -> str:
    raise ValueError(value)


def _of_text(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def reading(value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError(value)
        return freeze(read(value))

    return reading


def _timedelta(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError(text)
    days, hours, minutes, seconds, fraction = (part or "0" for part in match.groups())
    microseconds = int(fraction.ljust(6, "0"))
    return timedelta(int(days), int(seconds), microseconds, minutes=int(minutes), hours=int(hours))


_READERS: Mapping[type, Callable[[Any], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    Decimal: _decimal,
    date: _date,
    datetime: _of_text(datetime.fromisoformat),
    time: _of_text(time.fromisoformat),
    timedelta: _of_text(_timedelta),
    UUID: _of_text(UUID),
    str: _text,
}

_WORDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a decimal number",
    str: "text",
    bytes: "bytes",
    date: "a date",
    datetime: "a time with its offset",
    time: "a time of day",
    timedelta: "a duration",
    UUID: "a UUID",
    dict: "an object",
    list: "a list",
}
