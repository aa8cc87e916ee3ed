"""What ``make test-charts`` finds in values for a chart, and what it reads of the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from documentation.chart_values import faults, values_of

SCHEMA = {
    "type": "object",
    "required": ["replicas"],
    "additionalProperties": True,
    "properties": {
        "replicas": {"type": "integer"},
        "image": {"anyOf": [{"$ref": "#/$defs/image"}, {"type": "null"}]},
        "env": {"type": "array", "items": {"$ref": "#/$defs/env"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "affinity": {"$ref": "https://example.com/kubernetes.json#/definitions/Affinity"},
        "below": {"type": "object", "additionalProperties": True},
    },
    "$defs": {
        "image": {"type": "object", "properties": {"tag": {"type": "string"}}},
        "env": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    },
}
BELOW = {"type": "object", "required": ["port", "global"], "properties": {"port": {"type": "integer"}, "global": {}}}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The schema of a chart with a subchart, and the values of both beside it."""
    chart_values = {"replicas": 1, "image": {"tag": "1"}, "below": {"port": 1}, "global": {}}
    for folder, schema, values in ((".", SCHEMA, chart_values), ("charts/below", BELOW, {"port": 2})):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "values.schema.json").write_text(json.dumps(schema))
        (tmp_path / folder / "values.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "values.schema.json"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"image": {"tag": "2"}, "env": [{"name": "A"}], "labels": {"any": "text"}, "below": {"port": 3}}, []),
        ({"image": None, "affinity": {"of": "kubernetes"}}, []),
        ({"replicas": "one"}, ["replicas: 'one' is not of type 'integer'"]),
        ({"replicas": None}, [": 'replicas' is a required property"]),
        ({"env": [{"name": "A"}, {}]}, ["env.1: 'name' is a required property"]),
        ({"replica": 2}, ["replica: not in the schema"]),
        ({"image": {"tags": "2"}}, ["image.tags: not in the schema"]),
        ({"env": [{"name": "A", "values": "1"}]}, ["env[0].values: not in the schema"]),
        ({"labels": {"any": 1}}, ["labels.any: 1 is not of type 'string'"]),
        ({"below": {"port": "3"}}, ["below: port: '3' is not of type 'integer'"]),
        ({"below": {"ports": 3}}, ["below: ports: not in the schema"]),
    ],
)
def test_values_that_do_not_fit_are_named(chart: Path, values: dict[str, Any], expected: list[str]) -> None:
    """Of a wrong type, missing, or of a name that the schema does not know, in the chart or in a subchart of it."""
    assert list(faults(chart, values)) == expected


def test_the_page_has_values_of_both_charts() -> None:
    """Objects of Kubernetes are none of them."""
    found = {chart: [values for _, values in values_of(chart)] for chart in ("Airflow", "Dagster")}
    (airflow, secret), (dagster,) = found["Airflow"], found["Dagster"]
    assert (airflow["executor"], list(secret), "runLauncher" in dagster) == ("CeleryExecutor", ["secret"], True)
