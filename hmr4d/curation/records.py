"""Records passed between stages: JSON and arrays in tar files that WebDataset readers support.

A record `<key>` is the members `<key>.json` and `<key>.<array>.npy`. The same records give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.utils.files import atomic_path

CLIP, SOURCE = "clip", "source"  # types of records


class Rejected(ValueError):
    """A record that a stage excludes, with the reason.

    Args:
        reason: short name of the reason, the same for all such records.
        sentence: what was found and expected.
        kept: what later stages still get, such as the failed filters of a source without a clip.
    """

    def __init__(self, reason: str, sentence: str, kept: Sequence[Record] = ()) -> None:
        super().__init__(sentence)
        self.reason, self.kept = reason, kept


@dataclass(frozen=True, eq=False)
class Record:
    """One source or one clip, passed between stages.

    Attributes:
        key: name without dots or slashes, unique among the records of a stage.
        meta: content of the JSON.
        arrays: name -> array.
        kind: CLIP, or SOURCE for a source before it is cut and, later, in addition to its clips.
    """

    key: str
    meta: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    kind: str = CLIP

    def with_meta(self, **entries: Any) -> Record:
        """A copy with additional or replaced entries."""
        return Record(self.key, {**self.meta, **entries}, self.arrays, self.kind)


def source_key(source_id: str) -> str:
    """Key of a source's record: 16 hexadecimal digits of its id."""
    return hashlib.sha1(source_id.encode()).hexdigest()[:16]


class RecordWriter:
    """Writes records to an open tar file, one after the other."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, record: Record) -> None:
        meta = json.dumps({**record.meta, "kind": record.kind}, ensure_ascii=False, sort_keys=True)
        self._member(f"{record.key}.json", meta.encode("utf-8", "replace"))  # halves of surrogate pairs become "?"
        for name in sorted(record.arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(record.arrays[name]), allow_pickle=False)
            self._member(f"{record.key}.{name}.npy", buffer.getvalue())

    def _member(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        self._tar.addfile(info, io.BytesIO(content))


def write_records(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
    """Writes records to a tar file, atomically."""
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        writer = RecordWriter(tar)
        for record in records:
            writer.add(record)


def read_records(path: str | os.PathLike[str]) -> Iterator[Record]:
    """Records of a tar file, in its order, one in memory at a time.

    Raises:
        ValueError: the file is no tar file, or a member is damaged; the message names both.
    """
    key: str | None = None
    meta: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                stem, _, rest = member.name.partition(".")
                file = tar.extractfile(member)
                content = b"" if file is None else file.read()
                if rest == "json":
                    if key is not None:
                        yield _record(key, meta, arrays)
                    key, meta, arrays = stem, _decoded(content, member.name), {}
                elif stem != key:
                    raise ValueError(f"{member.name} does not follow {stem}.json.")
                else:
                    arrays[rest.removesuffix(".npy")] = _array(content, member.name)
            if key is not None:
                yield _record(key, meta, arrays)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{path} is not a complete tar file ({error}).") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _record(key: str, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Record:
    return Record(key, {k: v for k, v in meta.items() if k != "kind"}, arrays, str(meta.get("kind", CLIP)))


def _decoded(content: bytes, name: str) -> dict[str, Any]:
    try:
        meta = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON ({error}).") from error
    if not isinstance(meta, dict):
        raise ValueError(f"{name} contains a {type(meta).__name__}; expected an object.")
    return meta


def _array(content: bytes, name: str) -> NDArray[Any]:
    try:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ValueError(f"{name} is not a NumPy array ({error}).") from error
