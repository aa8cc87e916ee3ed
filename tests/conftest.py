"""How all tests run."""

import gc
import os
import signal

import pytest
from hypothesis import settings

import migrations_once  # noqa: F401 - databases are made with less work from here on

# A machine that is busy is slow; how long an example takes is no fact about the code.
settings.register_profile("flowctx", deadline=None)
# Continuous integration looks at the same examples each time; `make test` looks for new ones.
settings.register_profile("same", settings.get_profile("flowctx"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "flowctx"))

# Ctrl-C is ignored in the background of a script, and by all that is begun there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Look no more for garbage among all that was imported and collected: it stays."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """Look for garbage once: pytest is about to do it five times, among all that tests have left."""
    gc.collect()
    gc.freeze()
