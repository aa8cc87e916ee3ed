"""Loads all that is under defs/."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Return what the folder defines."""
    return dg.load_from_defs_folder(project_root=Path(__file__).parents[2])
