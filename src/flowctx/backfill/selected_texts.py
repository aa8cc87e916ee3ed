"""Which of many texts of partitions are selected."""

from __future__ import annotations

from flowctx.core.partitions.selection import Selection

#: Of a larger selection the texts are not held in memory.
_MOST = 1_000_000
#: To read one text takes as long as to make so many.
_TEXTS_FOR_ONE = 20


class SelectedTexts:
    """The texts of the partitions of a selection, for whoever asks of many: all are made when many have been asked of.

    Args:
        selection: The partitions.

    Example:
        >>> from flowctx import PartitionScheme
        >>> texts = SelectedTexts(PartitionScheme(tier=["T1", "T2"], venue=["N"]).select("tier=T1"))
        >>> "tier=T1|venue=N" in texts, "venue=N|tier=T1" in texts, "tier=T2|venue=N" in texts, "" in texts
        (True, True, False, False)
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._texts: frozenset[str] = frozenset()
        self._left = len(selection) // _TEXTS_FOR_ONE if len(selection) <= _MOST else -1

    def __contains__(self, text: str) -> bool:
        """Whether a partition is selected, also one whose text somebody else wrote, in another order."""
        if text in self._texts:
            return True
        if self._left == 0:
            self._texts = frozenset(self._selection.texts())
        self._left -= 1
        return bool(text) and text in self._selection
