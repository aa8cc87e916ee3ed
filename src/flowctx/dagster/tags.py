"""Run tags that mean nothing to flowctx, or are nearly those that do."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from flowctx.core.errors import ContextError
from flowctx.core.workflow.parameters import near_reserved
from flowctx.core.workflow.run_request import RESERVED_NAMES, TAG_PREFIX

#: Our name for a run that a batch launched, after the prefix.
_RUN_TAG: Final = "run"


def check_tags(tags: Iterable[str], log: logging.Logger, *, strict: bool) -> None:
    """Refuse, or warn of, tags of ours that mean nothing, and those that are nearly ours.

    Args:
        tags: The run's tags.
        log: Where to warn: in Dagster the run's own log, since nobody sees another one unless it is configured.
        strict: The run is one of a workflow's own.

    Raises:
        ContextError: A tag in our namespace means nothing, and the run is one of a workflow's own.
    """
    for tag in tags:
        name = tag.removeprefix(TAG_PREFIX)
        ours = name != tag
        if name in (*RESERVED_NAMES, _RUN_TAG) or (not ours and "/" in tag):
            continue
        slip = near_reserved(name)
        hint = f"did you mean {TAG_PREFIX}{slip}?" if slip else f"there are {', '.join(RESERVED_NAMES)}"
        if ours and strict:
            raise ContextError(f"the run's tag {tag!r} means nothing to flowctx; {hint}")
        if ours or slip is not None:
            log.warning("the run's tag %r means nothing to flowctx; %s", tag, hint)
