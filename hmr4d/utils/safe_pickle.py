"""Restricted reader of untrusted pickles: only plain containers, numbers, text and NumPy arrays, no code."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

# What reading a damaged pickle, a zip file of pickles, or one of arrays raises.
UNREADABLE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    ImportError,
    zipfile.BadZipFile,
)
_TORCH_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first object of files that torch.save wrote before its zip format
_ALLOWED = {
    ("_codecs", "encode"),
    ("builtins", "bytearray"),
    ("builtins", "complex"),
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("builtins", "slice"),
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
    ),
}


class UnsafePickleError(ValueError):
    """A file that is no pickle, or a pickle with other classes than arrays and builtins."""


class _TensorsInside(UnsafePickleError):
    """A pickle that torch.save wrote of tensors."""


class _ArraysOnlyUnpickler(pickle.Unpickler):
    """Refuses every global but the handful that NumPy arrays and plain containers need."""

    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # its name in the older protocols
        if module == "torch._utils" and name.startswith("_rebuild_"):
            raise _TensorsInside("it holds torch tensors")
        if (module, name) not in _ALLOWED:
            raise UnsafePickleError(f"it contains {module}.{name}, which is neither an array nor a builtin")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise _TensorsInside("it holds torch tensors")


def load_arrays_pickle(path: str | os.PathLike[str]) -> Any:
    """Object tree of arrays and builtins from a pickle: plain, or written by torch.save (zip or older).

    Tensors of torch.save are returned as tensors in host memory.

    Raises:
        FileNotFoundError: the file does not exist.
        UnsafePickleError: the pickle is damaged or contains other classes; no code was executed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"File not found: {path}.")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [n for n in archive.namelist() if n.endswith("/data.pkl")]
                if len(members) != 1:
                    raise UnsafePickleError("the zip contains no data.pkl; it was not written by torch.save")
                return load_arrays(io.BytesIO(archive.read(members[0])))
        with path.open("rb") as file:
            first = load_arrays(file)
            if first != _TORCH_LEGACY_MAGIC:
                return first
            for _ in range(2):  # protocol version and system facts
                load_arrays(file)
            return load_arrays(file)
    except _TensorsInside:
        return _load_tensors(path)
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path} cannot be read safely: {error}.") from None
    except UNREADABLE as error:
        raise UnsafePickleError(f"{path} is damaged or no pickle: {error}.") from error


def _load_tensors(path: Path) -> Any:
    import torch  # only needed for files with tensors

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UnsafePickleError(f"{path} is damaged, or contains more than tensors and builtins: {reason}") from error


def load_arrays(file: BinaryIO) -> Any:
    """The next object tree of a stream; raises UnsafePickleError, or what pickle raises for damaged input."""
    return _ArraysOnlyUnpickler(file).load()
