"""Which upstream partitions a downstream partition takes in: a week its own sessions, and no others.

Dagster's own mapping takes in what overlaps, and where closed days are excluded it looks back to the last session:
a week from Saturday to Friday would load the Friday before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import dagster as dg

from flowctx.core.errors import PartitionError
from flowctx.core.partitions.dagster_keys import FOLD, fold, static_dimensions, static_values
from flowctx.core.partitions.mapping import check_windows
from flowctx.core.partitions.scheme import PartitionScheme
from flowctx.dagster._compat import DimensionDependency, PartitionsSubset, UpstreamPartitionsResult, quiet


def partition_mapping(upstream: PartitionScheme, downstream: PartitionScheme) -> dg.PartitionMapping:
    """Return the mapping by which an asset of one scheme depends on an asset of another.

    A partition takes in the upstream partitions whose windows lie in its own: a week its sessions, a quarter its
    months. Static dimensions match by name and value; a dimension that only one of the two has takes in all of it, so
    that ``date`` × ``symbol`` maps to ``week`` × ``symbol`` by symbol, and to ``week`` alone with every symbol.

    Runs load exactly that. Dagster's daemon and UI know only Dagster's own mappings, and see the session before the
    window as one more parent: a backfill of both assets may wait for it.

    Args:
        upstream: The scheme of the asset that is depended on; its windows are the same or finer.
        downstream: The scheme of the asset that depends on it.

    Raises:
        PartitionError: The windows of one do not lie in windows of the other, their time zones differ, or Dagster has
            no mapping of this form.

    Example:
        ::

            weekly = dg.AssetDep(daily, partition_mapping=partition_mapping(daily_scheme, weekly_scheme))
    """
    if upstream == downstream:
        return dg.IdentityPartitionMapping()
    pairs = _pairs(upstream, downstream)
    multi = len(_engine_dimensions(upstream)) > 1, len(_engine_dimensions(downstream)) > 1
    with quiet():
        if multi == (True, True):
            return dg.MultiPartitionMapping({p.up: dg.DimensionPartitionMapping(p.down, p.mapping) for p in pairs})
        if not pairs:
            return dg.AllPartitionMapping()
        if multi == (False, False):
            return pairs[0].mapping
        return _one_of_two(pairs[0], *multi)


def previous_mapping(
    upstream: PartitionScheme, downstream: PartitionScheme, first: int, last: int
) -> dg.PartitionMapping:
    """Return the mapping to dates before a partition's own; both schemes have the same dates and static values.

    Args:
        upstream: The scheme that is read.
        downstream: The scheme of the reader.
        first: How many dates back the first one is.
        last: How many dates back the last one is.
    """
    with quiet():
        time = dg.TimeWindowPartitionMapping(
            start_offset=-first, end_offset=-last, allow_nonexistent_upstream_partitions=True
        )
        ups, downs = _engine_dimensions(upstream), _engine_dimensions(downstream)
        if len(ups) == 1:
            return time
        mappings: list[dg.PartitionMapping] = [time, dg.IdentityPartitionMapping()]
        return dg.MultiPartitionMapping(
            {up: dg.DimensionPartitionMapping(down, to) for up, down, to in zip(ups, downs, mappings, strict=True)}
        )


class _Pair(NamedTuple):
    """A dimension of Dagster's upstream, the one downstream that it maps to, and how."""

    up: str
    down: str
    mapping: dg.PartitionMapping


def _engine_dimensions(scheme: PartitionScheme) -> list[str]:
    return [name for name in (scheme.cadence_dimension, FOLD.join(static_dimensions(scheme))) if name]


def _pairs(upstream: PartitionScheme, downstream: PartitionScheme) -> list[_Pair]:
    pairs = []
    if upstream.cadence is not None and downstream.cadence is not None:
        check_windows(upstream.cadence, downstream.cadence)
        with quiet():
            time = TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
        pairs.append(_Pair(upstream.cadence_dimension or "", downstream.cadence_dimension or "", time))
    static = _static_mapping(upstream, downstream)
    if static is not None:
        pairs.append(_Pair(FOLD.join(static_dimensions(upstream)), FOLD.join(static_dimensions(downstream)), static))
    return pairs


def _static_mapping(upstream: PartitionScheme, downstream: PartitionScheme) -> dg.PartitionMapping | None:
    """Return how folded values match by the dimensions that both have; None if they have none in common."""
    ups, downs = static_dimensions(upstream), static_dimensions(downstream)
    shared = [name for name in ups if name in downs]
    if not shared:
        return None
    if ups == downs and all(upstream.values(name) == downstream.values(name) for name in ups):
        return dg.IdentityPartitionMapping()
    matching: dict[str, list[str]] = {}
    for values in static_values(downstream):
        matching.setdefault(fold(values, shared), []).append(fold(values, downs))
    folded = {fold(values, ups): matching.get(fold(values, shared), []) for values in static_values(upstream)}
    return dg.StaticPartitionMapping({up: down for up, down in folded.items() if down})


def _one_of_two(pair: _Pair, upstream_is_multi: bool, downstream_is_multi: bool) -> dg.PartitionMapping:
    if isinstance(pair.mapping, dg.StaticPartitionMapping):
        raise PartitionError(
            f"Dagster cannot map {pair.up!r} to {pair.down!r} where only one side has a cadence and their values "
            "differ; give both schemes the same static dimensions and values"
        )
    return MultiToSingleDimensionPartitionMapping.of(
        pair.up if upstream_is_multi else pair.down,
        DimensionDependency(
            pair.mapping,
            upstream_dimension_name=pair.up if upstream_is_multi else None,
            downstream_dimension_name=pair.down if downstream_is_multi else None,
        ),
    )


# Dagster writes a mapping down by the name of its class, and its daemon and web server import no code of ours. So
# each of these is called what its base is called: it is written as the base, and read back there as the base.


class TimeWindowPartitionMapping(dg.TimeWindowPartitionMapping):
    """Takes in the upstream partitions whose windows start inside the downstream partition's own."""

    @property
    def description(self) -> str:
        """What Dagster's UI says of it."""
        return "Maps a downstream partition to the upstream partitions whose windows lie in its own."

    def get_upstream_mapped_partitions_result_for_partitions(
        self,
        downstream_partitions_subset: PartitionsSubset | None,
        downstream_partitions_def: dg.PartitionsDefinition[Any] | None,
        upstream_partitions_def: dg.PartitionsDefinition[Any],
        *args: Any,
        **kwargs: Any,
    ) -> UpstreamPartitionsResult:
        """Return what overlaps, less what starts before the window."""
        found = super().get_upstream_mapped_partitions_result_for_partitions(
            downstream_partitions_subset, downstream_partitions_def, upstream_partitions_def, *args, **kwargs
        )
        down = () if downstream_partitions_subset is None else downstream_partitions_subset.get_partition_keys()
        windows = _windows(downstream_partitions_def, down)
        starts = [window.start for window in windows]
        inside = []
        for window in _windows(upstream_partitions_def, found.partitions_subset.get_partition_keys()):
            at = bisect_right(starts, window.start) - 1
            if at >= 0 and window.start < windows[at].end:
                inside.append(window.key)
        return UpstreamPartitionsResult(
            partitions_subset=upstream_partitions_def.empty_subset().with_partition_keys(inside),
            required_but_nonexistent_subset=upstream_partitions_def.empty_subset(),
        )

    def get_downstream_partitions_for_partitions(
        self,
        upstream_partitions_subset: PartitionsSubset,
        upstream_partitions_def: dg.PartitionsDefinition[Any],
        downstream_partitions_def: dg.PartitionsDefinition[Any] | None,
        *args: Any,
        **kwargs: Any,
    ) -> PartitionsSubset:
        """Return what overlaps, less windows in which none of the upstream ones starts."""
        assert downstream_partitions_def is not None  # noqa: S101 - the base checks it
        found = super().get_downstream_partitions_for_partitions(
            upstream_partitions_subset, upstream_partitions_def, downstream_partitions_def, *args, **kwargs
        )
        up = _windows(upstream_partitions_def, upstream_partitions_subset.get_partition_keys())
        starts = [window.start for window in up]
        holding = [
            window.key
            for window in _windows(downstream_partitions_def, found.get_partition_keys())
            if bisect_left(starts, window.start) < bisect_left(starts, window.end)
        ]
        return downstream_partitions_def.empty_subset().with_partition_keys(holding)


class MultiToSingleDimensionPartitionMapping(dg.MultiToSingleDimensionPartitionMapping):
    """Maps one of two dimensions to the only one of the other side, by a mapping that is given."""

    _dependency: DimensionDependency

    @classmethod
    def of(cls, dimension: str, dependency: DimensionDependency) -> MultiToSingleDimensionPartitionMapping:
        """Make one for a dimension of the side that has two."""
        made = cls(dimension)
        made._dependency = dependency
        return made

    def validate_partition_mapping(self, *_: object) -> None:
        """Accept both: it was made for them."""

    def get_dimension_dependencies(self, *_: object) -> Sequence[DimensionDependency]:
        """Return the one that was given, instead of guessing one."""
        return [self._dependency]


class _KeyWindow(NamedTuple):
    """Start and end of a window in seconds since 1970, and its key."""

    start: float
    end: float
    key: str


def _windows(definition: dg.PartitionsDefinition[Any] | None, keys: Iterable[str]) -> list[_KeyWindow]:
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)  # noqa: S101 - the base checked it
    windows = ((definition.time_window_for_partition_key(key), key) for key in keys)
    return sorted(_KeyWindow(window.start.timestamp(), window.end.timestamp(), key) for window, key in windows)
