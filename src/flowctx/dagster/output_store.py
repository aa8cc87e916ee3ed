"""Where the outputs of steps and assets are kept: one file for each capture of each partition, on any fsspec path.

::

    <root>/daily_prices/fetch/2012-10-26/IBM/@2012-10-26%7CIBM%7Cbatch-1.json    one capture
    <root>/daily_prices/fetch/2012-10-26/IBM/@latest.json                        names the newest one

``@`` stands in no escaped value, so that no partition can be taken for a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from flowctx.core.data.plain import FrozenDict
from flowctx.core.errors import ArtifactError, PayloadError
from flowctx.core.execution.artifacts import ArtifactStore
from flowctx.core.execution.envelope import Envelope, load_output
from flowctx.core.hashing import sha256
from flowctx.core.partitions.key import PartitionKey, escape_value
from flowctx.core.whole_files import write_whole

_LATEST = "@latest.json"
#: Longest file name made of a capture id; most file systems take 255 bytes.
_MAX_NAME = 180
#: So much of the end of a longer one stands in its name, after a digest.
_MAX_TAIL = _MAX_NAME - 33


@dataclass(frozen=True, kw_only=True)
class StoredOutput:
    """One version of the output of one partition."""

    #: Whose output: the path of the asset's key.
    asset_path: tuple[str, ...]
    #: Dagster's partition key.
    key: str | None
    #: The same as a key of the scheme.
    partition: PartitionKey | None
    #: Names the version.
    capture_id: str
    #: The run that wrote it.
    run_id: str
    #: What was written.
    envelope: Envelope
    #: Where its tables and large outputs are.
    artifacts: ArtifactStore | None = field(default=None, compare=False)

    def to_payload(self) -> dict[str, Any]:
        """Return it as a dict of JSON built-ins."""
        return {
            "key": None if self.key is None else str(self.key),  # not a MultiPartitionKey
            "partition": self.partition.to_dict() if self.partition else None,
            "capture_id": self.capture_id,
            "run_id": self.run_id,
            "envelope": self.envelope.to_payload(),
        }

    @classmethod
    def from_payload(cls, asset_path: Sequence[str], data: Mapping[str, Any]) -> StoredOutput:
        """Rebuild what :meth:`to_payload` returned."""
        return cls(
            asset_path=tuple(asset_path),
            key=data["key"],
            partition=PartitionKey(**data["partition"]) if data["partition"] else None,
            capture_id=data["capture_id"],
            run_id=data["run_id"],
            envelope=Envelope.from_payload(data["envelope"]),
        )

    @property
    def output(self) -> FrozenDict:
        """The output itself, from the artifact store if it was put there."""
        return load_output(self.envelope, self.artifacts)


@dataclass(frozen=True)
class OutputStore:
    """Reads and writes captures under a folder or any URL that fsspec knows; it knows nothing of Dagster."""

    #: The folder or URL.
    root: str
    #: Where tables and large outputs are.
    artifacts: ArtifactStore | None = None

    def read(self, asset_path: Sequence[str], key: str | None, capture_id: str | None = None) -> StoredOutput:
        """Return a capture.

        Args:
            asset_path: Path of the asset's key.
            key: Dagster's key of the partition.
            capture_id: Which version; the newest if None.

        Raises:
            ArtifactError: It is not there; the message says what to materialise.
            PayloadError: It cannot be read.
        """
        folder = self.folder(asset_path, key)
        try:
            if capture_id is None:
                capture_id = _decode(folder / _LATEST)["capture_id"]
            return self.read_file(asset_path, folder / _file_name(capture_id))
        except FileNotFoundError as exc:
            which = f", capture {capture_id}" if capture_id else ""
            which_key = f" --partition '{key}'" if key is not None else ""
            launch = f"dagster asset materialize -f FILE --select {'/'.join(asset_path)}{which_key}"
            raise ArtifactError(
                f"{output_name(asset_path, key)}{which} has no output under {self.root}; "
                f"materialize it first, in the UI or with: {launch}"
            ) from exc

    def captures(self, asset_path: Sequence[str], key: str | None) -> list[str]:
        """Return the ids of all captures of a partition, sorted."""
        return sorted(self.read_file(asset_path, path).capture_id for path in self.files(asset_path, key))

    def of_run(self, asset_path: Sequence[str], key: str | None, capture_or_batch: str) -> list[StoredOutput]:
        """Return the capture of that id, or those that a batch or run of that id made, by their ids."""
        own, end = _file_name(capture_or_batch), f"|{capture_or_batch}"
        tail = f"{escape_value(end)[-_MAX_TAIL:]}.json"  # of a long name the file has no more than that
        paths = [path for path in self.files(asset_path, key) if path.name == own or path.name.endswith(tail)]
        found = [self.read_file(asset_path, path) for path in sorted(paths, key=lambda path: str(path.name))]
        return [one for one in found if one.capture_id == capture_or_batch or one.capture_id.endswith(end)]

    def write(self, capture: StoredOutput) -> str:
        """Store a capture, all or nothing, make it the newest one and return where it is."""
        path = self.path(capture)
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, msgspec.json.encode(capture.to_payload()))
        _replace(path.parent / _LATEST, msgspec.json.encode({"capture_id": capture.capture_id}))
        return str(path)

    def holds(self, capture: StoredOutput) -> bool:
        """Return whether a capture is stored just so."""
        try:
            found: bool = self.path(capture).read_bytes() == msgspec.json.encode(capture.to_payload())
        except FileNotFoundError:
            return False
        return found

    def path(self, capture: StoredOutput) -> Any:
        """Return where a capture is stored."""
        return self.folder(capture.asset_path, capture.key) / _file_name(capture.capture_id)

    def read_file(self, asset_path: Sequence[str], path: Any) -> StoredOutput:
        """Return the capture in a file."""
        try:
            return replace(StoredOutput.from_payload(asset_path, _decode(path)), artifacts=self.artifacts)
        except (KeyError, TypeError) as exc:
            raise PayloadError(f"{path} is no output of a step: {exc!r}; materialize it again") from exc

    def folder(self, asset_path: Sequence[str], key: str | None) -> Any:
        """Return the folder of a partition's captures."""
        from upath import UPath

        parts = [*asset_path, *(str(key).split("|") if key is not None else ())]
        return UPath(self.root).joinpath(*map(_segment, parts))

    def files(self, asset_path: Sequence[str], key: str | None) -> list[Any]:
        """Return the files of a partition's captures."""
        folder = self.folder(asset_path, key)
        if not folder.exists():
            return []
        there = {path.name: path for path in folder.iterdir()}
        return [there[n] for n in there if n.startswith("@") and n.endswith(".json") and n != _LATEST]


def _segment(text: str) -> str:
    """Return a part of a key as one safe name in a path."""
    name = escape_value(text)
    return name.replace(".", "%2E") if not name.strip(".") else name


def _file_name(capture_id: str) -> str:
    name = escape_value(capture_id)
    if len(name) > _MAX_NAME:
        name = f"{sha256(capture_id)[:32]}-{name[-_MAX_TAIL:]}"
    return f"@{name}.json"


def _decode(path: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise PayloadError(f"{path} is damaged: {exc}; materialize it again") from exc
    return found


def _replace(path: Any, data: bytes) -> None:
    """Write so that a reader never sees half of it: beside the place and renamed, or as one object of a store."""
    if getattr(path, "protocol", "") in ("", "file", "local"):
        write_whole(path, data)
    else:  # object stores show an object when it is complete, and cannot rename
        path.write_bytes(data)


def output_name(asset_path: Sequence[str], key: str | None) -> str:
    """Return how messages name the output of an asset, or of one of its partitions."""
    return (
        f"partition {str(key)!r} of asset {'/'.join(asset_path)}"
        if key is not None
        else f"asset {'/'.join(asset_path)}"
    )
