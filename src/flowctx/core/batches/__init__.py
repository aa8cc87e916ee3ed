"""What is known of a batch, and who launches it.

* :mod:`.records`: batches, jobs and what became of partitions, as frozen values
* :mod:`.ledger`: the port for what remembers batches
* :mod:`.launcher`: the port for what runs partitions on an engine
"""
