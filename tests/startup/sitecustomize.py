"""Python runs this as it starts, wherever tests put this folder on its path.

A third of what tests cost is the import of engines, and a fifth of that is the collector of garbage, which finds none.
"""

import gc

gc.set_threshold(50_000, 20, 20)
