"""Parameters that are declared as a type: a dataclass, a msgspec Struct, or a pydantic model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from flowctx.core.data.plain import freeze, thaw
from flowctx.core.errors import ContextError
from flowctx.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from msgspec import Struct  # importing it takes as long as the whole of flowctx


class Dataclass(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class PydanticModel(Protocol):
    """A model of pydantic, which is never imported here."""

    @classmethod
    def model_validate(cls, obj: Any) -> Any:
        """Make one of a dict."""


#: A declaration: the type, whose fields all have defaults, or an instance that has the defaults.
ParamsType: TypeAlias = "Dataclass | type[Dataclass] | Struct | type[Struct] | PydanticModel | type[PydanticModel]"


class ParamsModel:
    """A type of parameters: its defaults, and whether those of a run are of it.

    Args:
        source: The type, or an instance.

    Raises:
        TypeError: It is none of the three, or a field has no default.
        ContextError: The defaults are not of the type.
    """

    def __init__(self, source: ParamsType) -> None:
        self.type: Any = source if isinstance(source, type) else type(source)
        if _fields(self.type) is None:
            raise TypeError(f"{source!r} is no dict, dataclass, msgspec Struct or pydantic model")
        name = self.type.__name__
        try:
            instance = source if source is not self.type else self.type()
        except (TypeError, ValueError) as exc:
            raise TypeError(
                f"{name} has fields without a default; give each one, or pass an instance: params={name}(...) ({exc})"
            ) from exc
        self._info: Any = None
        #: The defaults by name.
        self.defaults = _values(instance)
        self.check(self.defaults)

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a run as the type has them.

        Raises:
            ContextError: They are not of the type; the message is its own.
        """
        plain = thaw(freeze(dict(params), "params"))
        try:
            made = self._made(plain)
            _refuse_unknown(plain, made, "")
        except (ValueError, TypeError, NameError) as exc:  # msgspec's are a ValueError
            raise ContextError(f"the parameters are no {self.type.__name__}: {_reason(exc)}") from exc
        return {name: freeze(value, f"params[{name!r}]") for name, value in _values(made).items()}

    def _made(self, plain: Any) -> Any:
        """Return an instance; parameters are called as the fields are, whatever the type calls them in JSON."""
        if _is_pydantic(self.type):
            return self.type.model_validate(plain, **_by_name(self.type))
        import msgspec

        if self._info is None:
            self._info = msgspec.inspect.type_info(self.type)
        return msgspec.convert(_encoded(plain, self._info), self.type, strict=False)


@lru_cache(maxsize=64)  # to read a signature takes longer than to make a model, and each run asks for it
def _by_name(model: Any) -> dict[str, bool]:
    """Return what tells a model that fields are passed by their names, not by their aliases.

    Raises:
        TypeError: It has aliases, and its pydantic takes no names instead.
    """
    if "by_name" in signature(model.model_validate).parameters:
        return {"by_alias": False, "by_name": True}
    if any(field.validation_alias is not None for field in model.model_fields.values()):
        raise TypeError("its fields have aliases, which needs pydantic 2.11 or later; install that")
    return {}


def _encoded(value: Any, info: Any) -> Any:
    """Return plain data in which the fields of Structs are called as in JSON, however deep they are.

    Args:
        value: The plain data.
        info: Its type, as ``msgspec.inspect`` tells it.
    """
    if hasattr(info, "extra_json_schema"):  # the type is wrapped in what a schema says of it
        return _encoded(value, info.type)
    if hasattr(info, "types"):
        return _encoded(value, next((one for one in info.types if _may_be(value, one)), None))
    if isinstance(value, dict) and hasattr(info, "fields"):
        known = {field.name: field for field in info.fields}
        called = {name: known[name].encode_name if name in known else name for name in value}
        return {called[n]: _encoded(one, known[n].type if n in known else None) for n, one in value.items()}
    if isinstance(value, dict) and hasattr(info, "value_type"):
        return {name: _encoded(one, info.value_type) for name, one in value.items()}
    if isinstance(value, list) and hasattr(info, "item_types") and len(value) == len(info.item_types):
        return [_encoded(one, kind) for one, kind in zip(value, info.item_types, strict=True)]
    if isinstance(value, list) and hasattr(info, "item_type"):
        return [_encoded(one, info.item_type) for one in value]
    return value


def _may_be(value: Any, info: Any) -> bool:
    if isinstance(value, dict):
        tag = getattr(info, "tag_field", None)
        return hasattr(info, "value_type") or (hasattr(info, "fields") and (not tag or value.get(tag) == info.tag))
    return isinstance(value, list) and (hasattr(info, "item_type") or hasattr(info, "item_types"))


def _refuse_unknown(value: Any, made: Any, path: str) -> None:
    """Refuse what is passed to a record within the parameters that has no such field: its type may ignore that.

    Raises:
        ValueError: There is something.
    """
    if isinstance(value, list) and isinstance(made, list | tuple):
        for number, pair in enumerate(zip(value, made, strict=False)):
            _refuse_unknown(*pair, f"{path}[{number}]")
    if not isinstance(value, dict):
        return
    known = _names(made)
    for name, one in value.items():
        where = f"{path}.{name}" if path else name
        if known and name not in known:
            raise ValueError(f"{where} is no field of {type(made).__name__}; {did_you_mean(name, known)}")
        inner = made.get(name) if isinstance(made, dict) else getattr(made, known.get(name, ""), None)
        _refuse_unknown(one, inner, where)


def _names(made: Any) -> dict[str, str]:
    """Return the fields of a record by what they may be called; of what is none, nothing."""
    kind = type(made)
    names = {name: name for name in _fields(kind) or ()}
    if hasattr(kind, "__struct_fields__"):
        names |= dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
        if kind.__struct_config__.tag_field is not None:
            names[kind.__struct_config__.tag_field] = ""
    return names


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate") and hasattr(kind, "model_fields")


def _fields(kind: Any) -> list[str] | None:
    """Return the names of the fields of a type, or None for one that is none of the three."""
    if _is_pydantic(kind):
        return list(kind.model_fields)
    if hasattr(kind, "__struct_fields__"):
        return list(kind.__struct_fields__)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None


def _values(instance: Any) -> dict[str, Any]:
    return {name: getattr(instance, name) for name in _fields(type(instance)) or ()}


def _reason(exc: Exception) -> str:
    """Return why in one line; pydantic says it in several."""
    errors = getattr(exc, "errors", None)
    if callable(errors):
        return "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors())
    return " ".join(str(exc).split())
