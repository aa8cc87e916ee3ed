"""What Airflow finds of flowctx by itself."""

from importlib.metadata import entry_points

import pytest

import flowctx.entry_points
from flowctx.core.errors import UnsupportedEngine


def found(group):
    """Return what an entry point of ours loads."""
    (point,) = (point for point in entry_points(group=group) if point.value.startswith("flowctx."))
    return point.load()


def test_airflow_finds_the_plugin_and_the_decorator():
    """The plugin has the timetable, and the provider names a decorator that can be imported."""
    assert [kind.__name__ for kind in found("airflow.plugins").timetables] == ["PartitionTimetable"]
    assert found("apache_airflow_provider")()["task-decorators"][0]["class-name"].startswith("flowctx.airflow.")
    with pytest.raises(AttributeError, match="Nothing"):
        flowctx.entry_points.Nothing  # noqa: B018


def test_beside_an_airflow_that_is_not_known_there_is_nothing(monkeypatch):
    """Where the adapter refuses the version, Airflow finds no plugin and no decorator, and no error either."""

    def refuse(name):
        raise UnsupportedEngine("flowctx needs Airflow 3.0.6 or later, found 2.11.2")

    monkeypatch.setattr(flowctx.entry_points, "import_module", refuse)
    assert found("airflow.plugins") is None
    assert "task-decorators" not in found("apache_airflow_provider")()
