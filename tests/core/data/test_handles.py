"""Tables, files and artifacts wherever they are in plain data."""

from flowctx import ArtifactRef
from flowctx.core.data.encoding import decode, encode
from flowctx.core.data.handles import artifacts_in
from flowctx.core.data.plain import freeze


def test_artifacts_in_finds_references():
    """References are found wherever they are."""
    ref = ArtifactRef(uri="memory://x", digest="0" * 64, size=3)
    assert list(artifacts_in(freeze({"a": [ref, {"b": ref}], "c": 1}))) == [ref, ref]
    assert decode(encode(freeze({"a": ref}))) == {"a": ref}
