"""How all tests run."""

from hypothesis import settings

# A machine that is busy is slow; how long an example takes is no fact about the code.
settings.register_profile("flowctx", deadline=None)
settings.load_profile("flowctx")
