"""What is imported when this is stays, and is looked through for garbage no more: import it before processes fork.

Each of them would look, find none, and copy all the memory that it looked at.
"""

import gc

gc.collect()
gc.freeze()
