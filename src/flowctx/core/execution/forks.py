"""A step that forks: the copy of the process that it makes ends with the step, whatever it comes out of it with."""

from __future__ import annotations

import os
from typing import NoReturn

from flowctx.core.errors import error_text

#: Of how many copies, one made by the other, this process is the last.
copies = 0


def _count() -> None:
    global copies
    copies += 1


if hasattr(os, "register_at_fork"):  # where processes fork
    os.register_at_fork(after_in_child=_count)


def end_copy(step: str, exc: BaseException | None) -> NoReturn:
    """End this process at once: it is a copy that a step has made, and is not to go on as the run.

    It records nothing, and nothing that was to happen at the end of the process happens twice. Its exit code is that
    of ``sys.exit``, or else 1, with a word on standard error.

    Args:
        step: The step's name.
        exc: What it came out of the step with, if it was no return.
    """
    try:
        if isinstance(exc, SystemExit) and (exc.code is None or isinstance(exc.code, int)):
            os._exit((exc.code or 0) & 0xFF)
        how = "with a return" if exc is None else f"with {error_text(exc)}"
        text = (
            f"step {step!r} forked, and the copy of the process, {os.getpid()}, came out of the step {how}: it ends "
            "here and records nothing; end it within the step, with os._exit\n"
        )
        os.write(2, text.encode())
    finally:  # also where nobody reads standard error
        os._exit(1)
