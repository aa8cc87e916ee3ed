"""What may flow through a context: read-only plain data and its JSON form.

* :mod:`.plain`: :func:`~.plain.freeze` and :func:`~.plain.thaw`, the read-only containers, ``ArtifactRef``
* :mod:`.lazy`: a read-only dict whose values are fetched when they are first looked at
* :mod:`.encoding`: the tagged JSON form, and digests of it
"""
