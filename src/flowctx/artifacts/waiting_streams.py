"""Arrow streams that wait in a temporary file, each with columns of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

import pyarrow as pa

from flowctx.core.temporary_files import having_room


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """Yield a file that is gone when the block ends.

    Raises:
        FlowctxError: There is no room for it.
    """
    with having_room():
        file = TemporaryFile()  # noqa: SIM115 - closed below
    try:
        yield file
    finally:
        with suppress(OSError):  # where it has no room, it says so once more
            file.close()


def put_stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch], waiting: IO[bytes]) -> None:
    """Add one stream.

    Raises:
        FlowctxError: There is no room for it.
    """
    with pa.ipc.new_stream(_Sink(waiting), schema) as stream:
        for batch in batches:
            stream.write_batch(batch)


def streams(waiting: IO[bytes]) -> Iterator[pa.RecordBatchReader]:
    """Yield the streams, each to be read to its end before the next one.

    Raises:
        FlowctxError: There was no room for the last of them.
    """
    with having_room():
        end = waiting.tell()
        waiting.seek(0)  # what was not written yet is written now
    while waiting.tell() < end:
        with pa.ipc.open_stream(waiting) as stream:
            yield stream


class _Sink:
    """Writes to a file, and says where there would be room if it cannot."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        with having_room():
            return self._file.write(data)

    def flush(self) -> None:
        """Leave what is in the buffer there."""

    def close(self) -> None:
        """Leave the file open: the next stream follows."""
