"""A user's own timetable, as a subclass of Airflow's."""

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.trigger import CronTriggerTimetable


class OwnTimetable(CronTriggerTimetable):
    """Fires as its base does."""


class OwnTimetables(AirflowPlugin):
    """Registers it."""

    name = "own_timetables"
    timetables = [OwnTimetable]  # noqa: RUF012 - as Airflow declares it
