"""Parameters that are declared as a type: a dataclass, a msgspec Struct, or a pydantic model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from flowctx.core.data.plain import freeze, thaw
from flowctx.core.errors import ContextError

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
            if _is_pydantic(self.type):
                made = self.type.model_validate(plain)
            else:
                import msgspec

                encoded = {field.name: field.encode_name for field in _struct_fields(self.type)}
                renamed = {encoded.get(name, name): value for name, value in plain.items()}
                made = msgspec.convert(renamed, self.type, strict=False)
        except (ValueError, TypeError, NameError) as exc:  # msgspec's are a ValueError
            raise ContextError(f"the parameters are no {self.type.__name__}: {_reason(exc)}") from exc
        return {name: freeze(value, f"params[{name!r}]") for name, value in _values(made).items()}


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "model_validate") and hasattr(kind, "model_fields")


def _struct_fields(kind: Any) -> tuple[Any, ...]:
    if not hasattr(kind, "__struct_fields__"):
        return ()
    from msgspec.structs import fields

    return fields(kind)


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
