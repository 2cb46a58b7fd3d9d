"""Restricted reader for trees of arrays in files of torch.save, joblib, NumPy and pickle; it executes no code in them.

Classes that are not plain containers, arrays or tensors become placeholders (`inert_pickle`). joblib writes the data of
an array into the stream after its header, so the unpickler written in Python is needed to read it.
"""

from __future__ import annotations

import bz2
import collections
import gzip
import io
import lzma
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.utils import inert_pickle
from hmr4d.utils.weights import DAMAGED, load_inert, short_reason

MOST_BYTES = 1 << 32  # of a file that is unpacked in memory
_BLOCK = 1 << 20
_NPY_MAGIC, _TORCH_LEGACY_MAGIC = b"\x93NUMPY", 0x1950A86A20F9469CFC6C
_UNPACKERS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (  # first bytes of what joblib packs
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"\x5d\x00", lzma.LZMAFile),
)


class _JoblibArray:
    """Header of an array of joblib; its numbers follow in the stream."""

    shape: tuple[int, ...]
    order: str
    dtype: np.dtype[Any]
    numpy_array_alignment_bytes: int | None = None


class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue, reportUntypedBaseClass]
    """Looks up what `inert_pickle` allows, dictionaries with defaults, tensors and joblib's arrays."""

    dispatch = dict(pickle._Unpickler.dispatch)  # pyright: ignore[reportAttributeAccessIssue]

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.stream = stream

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage_from_bytes
        if (module, name) == ("collections", "defaultdict"):
            return collections.defaultdict
        if module in ("joblib.numpy_pickle", "joblib.numpy_pickle_compat") and name == "NumpyArrayWrapper":
            return _JoblibArray
        module = "builtins" if module == "__builtin__" else module
        if (module, name) not in inert_pickle.ALLOWED:
            return inert_pickle.Placeholder
        return super().find_class(module, name)

    def load_build(self) -> None:
        """State of an object; behind that of joblib's header come the numbers of the array."""
        super().load_build()  # pyright: ignore[reportAttributeAccessIssue]
        stack: list[Any] = self.stack  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(stack[-1], _JoblibArray):
            stack[-1] = _joblib_numbers(stack[-1], self.stream)

    dispatch[pickle.BUILD[0]] = load_build  # pyright: ignore[reportArgumentType]


def read_tree(path: str | Path) -> Any:
    """Content of a file: a tree of dictionaries, lists, numbers, text, arrays and tensors (in host memory).

    Args:
        path: file of torch.save, joblib.dump (compressed or not), np.save (also of objects), np.savez, or a pickle.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, or none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"File not found: {path}. Check the path.")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty. Was it copied or downloaded whole?")
    try:
        return _read(path)
    except DAMAGED + (zlib.error, lzma.LZMAError, struct.error, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or of no kind that is read here ({short_reason(error)}). Known are files of "
            "torch.save, joblib, NumPy and pickle."
        ) from error


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(8)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/data.pkl") for name in archive.namelist()):
                return load_inert(path)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: _entry(arrays, name) for name in arrays.files}
    with path.open("rb") as file:
        if start.startswith(_NPY_MAGIC):
            return _read_npy(file)
        stream = _unpacked(file, start)
        content = _Unpickler(stream).load()
    return load_inert(path) if content == _TORCH_LEGACY_MAGIC else content


def _entry(arrays: Any, name: str) -> Any:
    """One array of an npz file; objects come through the restricted reader."""
    try:
        return arrays[name]
    except ValueError:
        with arrays.zip.open(f"{name}.npy") as member:
            return _read_npy(io.BytesIO(member.read(MOST_BYTES)))


def _read_npy(file: IO[bytes]) -> Any:
    """The array of an .npy stream; of one object, that object."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if not dtype.hasobject:
        file.seek(0)
        return np.load(file, allow_pickle=False)
    content = _Unpickler(file).load()
    return content.item() if isinstance(content, np.ndarray) and shape == () else content


def _unpacked(file: IO[bytes], start: bytes) -> IO[bytes]:
    """A stream of the pickle in a file that joblib may have packed."""
    file.seek(0)
    for magic, unpack in _UNPACKERS:
        if start.startswith(magic):
            return io.BytesIO(b"".join(_bounded(iter(partial(unpack(file).read, _BLOCK), b""))))
    if start[:1] == b"\x78" and int.from_bytes(start[:2], "big") % 31 == 0:  # zlib
        engine = zlib.decompressobj()
        blocks = iter(partial(file.read, _BLOCK), b"")
        return io.BytesIO(b"".join(_bounded(engine.decompress(block) for block in blocks)))
    return file


def _bounded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for block in blocks:
        total += len(block)
        if total > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES} bytes")
        yield block


def _joblib_numbers(header: _JoblibArray, stream: IO[bytes]) -> Any:
    """The array that follows the header just read."""
    if header.dtype.hasobject:
        return _Unpickler(stream).load()
    if header.numpy_array_alignment_bytes is not None:
        stream.read(stream.read(1)[0])
    count = int(np.prod(header.shape, dtype=np.int64))
    wanted = count * header.dtype.itemsize
    if count < 0 or wanted > MOST_BYTES:
        raise ValueError(f"an array of shape {header.shape} is too large")
    content = stream.read(wanted)
    if len(content) != wanted:
        raise EOFError(f"the file ends within an array of shape {header.shape}")
    array = np.frombuffer(bytearray(content), header.dtype)
    return array.reshape(header.shape[::-1]).T if header.order == "F" else array.reshape(header.shape)


def _storage_from_bytes(content: bytes) -> Any:
    """Storage of a pickled tensor."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def array_of(value: Any, name: str) -> np.ndarray:
    """A numeric value of a tree as a float64 array; ValueError names a value that is not numeric."""
    try:
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if array.dtype == object:  # one array for each frame
            array = np.stack([array_of(part, name) for part in array.reshape(-1)])
        if array.dtype.kind not in "fiub":
            raise TypeError(f"it is {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"'{name}' is not numeric ({str(error).splitlines()[0]}).") from error
