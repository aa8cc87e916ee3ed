"""Parameters that are made for each partition of a batch, by something that is more than a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from flowctx.core.partitions.key import PartitionKey


class PartitionParams(ABC):
    """Makes the parameters of one partition.

    Args:
        params: Those that are the same for all of them, and win; they are the batch's own.
    """

    #: What a batch is known by that has its parameters from here: to go on with it, it has to be the same.
    name: ClassVar[str]

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params

    @abstractmethod
    def __call__(self, key: PartitionKey) -> Mapping[str, Any]:
        """Return the parameters of a partition."""
