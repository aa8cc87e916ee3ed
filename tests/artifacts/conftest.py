"""Stores of artifacts: a folder, and a bucket of a real S3 server (moto's)."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer

from flowctx.artifacts import PathArtifactStore

#: URLs of more stores to test with, such as emulators of other clouds.
OTHERS = os.environ.get("FLOWCTX_TEST_STORES", "").split()


@pytest.fixture(scope="session")
def s3_server():
    """The endpoint of an S3 server on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server, monkeypatch, tmp_path):
    """The URL of an empty bucket, as users name it."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
        "no_proxy": "*",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"b{abs(hash(tmp_path)):x}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/artifacts"


@pytest.fixture(params=["folder", "s3", "memory", *OTHERS])
def store(request, tmp_path):
    """A store of each kind."""
    if request.param == "folder":
        return PathArtifactStore(str(tmp_path / "store"), patience=(), inline_bytes=0)
    if request.param in OTHERS:
        return PathArtifactStore(f"{request.param}/{uuid4().hex}", patience=(), inline_bytes=0)
    if request.param == "memory":
        return PathArtifactStore(f"memory://{tmp_path.name}", patience=(), inline_bytes=0)
    return PathArtifactStore(request.getfixturevalue("bucket"), patience=(), inline_bytes=0)
