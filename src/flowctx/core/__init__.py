"""What a workflow is: no I/O but whole files, and no library but msgspec. Seven rooms, each above those that it uses.

``durability`` stands on ``batches`` and ``execution``; these on ``workflow``, ``partitions``, ``dates`` and ``data``.
``errors``, ``clock``, ``hashing``, ``renames``, ``suggestions`` and ``whole_files`` are under all of them.
"""

from flowctx.core.interrupts import end_quietly

end_quietly()  # here, since whatever is imported of flowctx is imported after it
