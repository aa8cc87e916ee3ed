"""Partition keys, the schemes that say which keys exist, and selections of them.

* :mod:`.key`: ``PartitionKey``
* :mod:`.scheme`: ``PartitionScheme``, a :mod:`.key_product` of :mod:`.dimensions`, with dates
* :mod:`.selection`: ``Selection``; its text is read and written by :mod:`.selection_text`, over :mod:`.index_tree`
* :mod:`.due_selection`: what a text means that counts from the latest date that is due
* :mod:`.dagster_keys`: keys as Dagster has them
"""
