"""Business days, calendars and cadences.

* :mod:`.cadence`: ``Hourly``, ``Daily``, ``Weekly``, ``Monthly``, ``Quarterly``, ``Yearly`` and ``Window``
* :mod:`.calendar`: ``BusinessCalendar``, ``EVERY_DAY``, ``WEEKDAYS``; :mod:`.calendar_names`, what they are called
* :mod:`.sequence`, :mod:`.periods`, :mod:`.session_table`, :mod:`.weekly_pattern`: the arithmetic under them
* :mod:`.zones`, :mod:`.parsing`: instants of a time zone, and dates from text
"""
