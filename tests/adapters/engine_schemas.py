"""The schemas that the engines ship, and what they say of a call of ours and of an answer to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import distribution
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml
from jsonschema import Draft202012Validator

#: Airflow's REST API, and the log-in of the auth manager that it has by default.
_AIRFLOW = (
    "airflow/api_fastapi/core_api/openapi/v2-rest-api-generated.yaml",
    "airflow/api_fastapi/auth/managers/simple/openapi/v2-simple-auth-manager-generated.yaml",
)
_JSON = "application/json"


class Operation:
    """What Airflow's OpenAPI documents say of one method of one path.

    Args:
        template: The path, with names in braces.
        described: The operation as the document has it.
        components: The document's schemas, to which operations refer.
    """

    def __init__(self, template: str, described: Mapping[str, Any], components: Mapping[str, Any]) -> None:
        self.template, self._described, self._components = template, described, components

    def faults_of_call(self, query: str, body: Any) -> Iterator[str]:
        """Yield what is wrong with a query string and a body."""
        known = {one["name"]: one["schema"] for one in self._described.get("parameters", ()) if one["in"] == "query"}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in known:
                yield f"{self.template} has no query parameter {name!r}"
            elif not any(Draft202012Validator(known[name]).is_valid(read) for read in _readings(value)):
                yield f"{self.template} takes no {name}={value}"
        wanted = self._described.get("requestBody")
        if wanted is None and body is not None:
            yield f"{self.template} takes no body"
        elif wanted is not None and (body is not None or wanted.get("required")):
            yield from self._faults(wanted["content"][_JSON]["schema"], self._components, body)

    def faults_of_answer(self, status: int, data: Any) -> Iterator[str]:
        """Yield what Airflow would not answer; an answer may lack fields, but has none that Airflow's has not."""
        answers = self._described["responses"]
        if str(status) not in answers:
            yield f"{self.template} answers no {status}"
            return
        schema = answers[str(status)].get("content", {}).get(_JSON, {}).get("schema", {})
        yield from self._faults(_of_part(schema), _of_part(self._components), data)

    def _faults(self, schema: Mapping[str, Any], components: Any, data: Any) -> Iterator[str]:
        validator = Draft202012Validator({**schema, "components": components})
        for error in validator.iter_errors(data):
            yield f"{self.template}: {error.json_path} {error.message}"


def _readings(value: str) -> Iterator[Any]:
    """Yield what a value in a query string may be meant for."""
    yield from (value, [value])
    with suppress(ValueError):
        yield int(value)


def _of_part(schema: Any) -> Any:
    """Return a schema for objects of which some fields are left out."""
    if isinstance(schema, list):
        return [_of_part(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    part = {name: _of_part(value) for name, value in schema.items() if not _is_demand(name, value)}
    return {"additionalProperties": False, **part} if isinstance(schema.get("properties"), Mapping) else part


def _is_demand(name: str, value: Any) -> bool:
    return name == "required" and isinstance(value, list)


@cache
def _operations() -> dict[tuple[str, ...], dict[str, Operation]]:
    """Return Airflow's operations: by the pieces of their path, and then by method."""
    found: dict[tuple[str, ...], dict[str, Operation]] = {}
    for file in _AIRFLOW:
        text = distribution("apache-airflow-core").locate_file(file).read_text()
        document = yaml.load(text, yaml.CSafeLoader)  # type: ignore[attr-defined]
        for template, methods in document["paths"].items():
            found[tuple(template.split("/"))] = {
                method.upper(): Operation(template, described, document["components"])
                for method, described in methods.items()
            }
    return found


def operation(method: str, path: str) -> Operation:
    """Return what Airflow does when it is called so.

    Raises:
        LookupError: There is no such path, or no such method of it.
    """
    pieces = [unquote(piece) for piece in urlsplit(path).path.split("/")]
    matches = [
        (sum(piece.startswith("{") for piece in template), methods)
        for template, methods in _operations().items()
        if len(template) == len(pieces)
        and all(ours == theirs or theirs.startswith("{") for ours, theirs in zip(pieces, template, strict=True))
    ]
    found = min(matches, key=lambda match: match[0])[1] if matches else {}
    if method not in found:
        raise LookupError(f"Airflow has no {method} {path}")
    return found[method]


@cache
def dagster_schema() -> Any:
    """Return the schema of Dagster's web server, without what it does to answer."""
    from dagster_graphql.schema import create_schema
    from graphql import build_client_schema, introspection_from_schema

    return build_client_schema(introspection_from_schema(create_schema().graphql_schema))


def graphql_answer(query: str, variables: Mapping[str, Any], root: object) -> dict[str, Any]:
    """Return what Dagster answers to a query: its fields are attributes of the root, or methods of them."""
    from graphql import graphql_sync

    return dict(graphql_sync(dagster_schema(), query, root, variable_values=dict(variables)).formatted)
