"""Validate the values of ``docs/kubernetes.md`` against the schemas of the charts: ``make test-charts``.

As Helm does: the chart's own values, which lie beside its schema, are below those of the page, and what the page says
of a subchart fits the subchart's schema, too. And more than Helm: a key that the schema does not know is refused, too,
where the schema does not say that there may be any.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema.validators import validator_for

sys.path[:0] = [str(Path(__file__).parents[1])]

from documentation.pages import PAGES, Block, blocks  # noqa: E402

PAGE = "docs/kubernetes.md"
Values = dict[str, Any]


def values_of(chart: str) -> Iterator[tuple[Block, Values]]:
    """Yield the blocks of the page under the heading of a chart that are values of it, and no objects of Kubernetes."""
    heading = ""
    headings = {
        number: match[1]
        for number, line in enumerate(PAGES[PAGE].read_text().splitlines(), 1)
        if (match := re.match("## (.*)", line))
    }
    for block in blocks(PAGE):
        heading = headings[max(line for line in headings if line < block.line)]
        if (heading, block.language) == (chart, "yaml"):
            values = yaml.safe_load(block.text)
            if "kind" not in values:
                yield block, values


def merged(below: Any, above: Any) -> Any:
    """Return values with others above them: maps are merged, ``null`` takes away, and all else is replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    both = {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    return {key: value for key, value in both.items() if value is not None or above.get(key, 0) is not None}


def faults(schema_file: Path, values: Values, of_parent: Values | None = None) -> Iterator[str]:
    """Yield what is wrong with values for a chart, whose own ``values.yaml`` lies beside its schema."""
    schema = json.loads(schema_file.read_text(), object_hook=_within_the_document)
    own = merged(yaml.safe_load(schema_file.with_name("values.yaml").read_text()), of_parent or {})
    computed = merged(own, values)
    for error in validator_for(schema)(schema).iter_errors(computed):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
    top = {**schema, "additionalProperties": False}  # Dagster's leaves its top open
    yield from (f"{name}: not in the schema" for name in unknown(values, [top], schema))
    for below in sorted(schema_file.parent.glob("charts/*/values.schema.json")):
        name = below.parent.name
        if name in values:
            inherited = {**computed[name], "global": computed.get("global") or {}}  # Helm, too, makes one where none is
            yield from (f"{name}: {fault}" for fault in faults(below, values[name], inherited))


def _within_the_document(schema: Values) -> Values:
    """Leave out what refers to another document, as that of Kubernetes' own objects: nothing is downloaded."""
    reference = schema.get("$ref", "#")
    return schema if not isinstance(reference, str) or reference.startswith("#") else {}


def unknown(value: Any, schemas: list[Any], root: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of keys that none of the schemas which may hold of a value names or leaves open."""
    schemas = [inner for schema in schemas for inner in _alternatives(schema, root)]
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from unknown(one, [s["items"] for s in schemas if "items" in s], root, f"{path}[{number}]")
    named = [schema for schema in schemas if "properties" in schema or "additionalProperties" in schema]
    if not isinstance(value, Mapping) or not named:
        return
    for key, inner in value.items():
        found = [s["properties"][key] for s in named if key in s.get("properties", {})]
        found = found or [s["additionalProperties"] for s in named if s.get("additionalProperties", False) is not False]
        where = f"{path}.{key}".lstrip(".")
        yield from unknown(inner, found, root, where) if found else [where]


def _alternatives(schema: Any, root: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and all those that it refers to in its place."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    if "$ref" in schema:
        target = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        yield from _alternatives(target, root)
    for word in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(word, ()):
            yield from _alternatives(one, root)


def main(airflow: str, dagster: str) -> int:
    """Print what does not fit, and return how much that is."""
    count = 0
    for chart, schema in (("Airflow", airflow), ("Dagster", dagster)):
        found = list(values_of(chart))
        assert found, f"{PAGE} has no values under '## {chart}'"
        for block, values in found:
            wrong = list(faults(Path(schema), values))
            count += len(wrong)
            print(f"{block.where}: values of {chart}: {'do not fit' if wrong else 'fit'}", *wrong, sep="\n    ")
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("name both: make test-charts AIRFLOW=.../values.schema.json DAGSTER=.../values.schema.json")
    sys.exit(min(main(*sys.argv[1:]), 1))
