"""What a workflow is: no I/O but whole files, and no library but msgspec. Seven rooms, each above those that it uses.

``durability`` stands on ``batches`` and ``execution``; these on ``workflow``, ``partitions``, ``dates`` and ``data``.
The modules beside these rooms are under all of them; of ``interrupts``, a call acts where flowctx is imported.
"""

from flowctx.core.interrupts import end_quietly

end_quietly()  # here, since whatever is imported of flowctx is imported after it
