"""Python runs this as it starts, wherever tests put this folder on its path.

A third of what tests cost is the import of engines, and a fifth of that is the collector of garbage, which finds none.
And they make and delete many small files, which a disk may take a while for: those live in memory, where there is room.
"""

import gc
import os

#: A file system in memory, and how much of it has to be free: tests use some hundred megabytes.
_MEMORY, _FREE_BYTES = "/dev/shm", 4 << 30

gc.set_threshold(50_000, 20, 20)
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK):
    _found = os.statvfs(_MEMORY)
    if _found.f_bavail * _found.f_frsize >= _FREE_BYTES:
        os.environ["TMPDIR"] = _MEMORY
