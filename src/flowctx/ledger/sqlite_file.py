"""The file of a SQLite ledger: readable by its owner alone, and on a disk of this machine."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from pathlib import Path

logger = logging.getLogger("flowctx")

_NETWORK = frozenset({"nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "glusterfs"})
_NETWORK_HELPERS = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.ceph", "fuse.rclone")


def make_private(database: str | None) -> None:
    """Make the file, if it is not there, so that its owner alone can read it: it holds parameters and outputs."""
    if database and not database.startswith("file:"):
        with contextlib.suppress(OSError):  # it is there, or SQLite says what is wrong
            os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@functools.cache
def warn_of_network(database: str | None) -> None:
    """Say once that a file is on a network: SQLite's locks and clocks hold on one machine only."""
    if database and _filesystem(Path(database)).startswith((*_NETWORK_HELPERS, *_NETWORK)):
        logger.warning(
            "the ledger %s is on a network filesystem: SQLite is safe only where one machine uses the file; "
            "use PostgreSQL where several do",
            database,
        )


def _filesystem(file: Path) -> str:
    """Return the kind of filesystem that a file is on, as Linux tells it; empty where it does not."""
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
        folder = file.parent.resolve()
    except OSError:
        return ""
    best, kind = -1, ""
    for _, where, name, *_ in (line.split() for line in mounts if line.count(" ") >= 3):
        mount = Path(where.replace("\\040", " "))
        if (mount == folder or mount in folder.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), name
    return kind
