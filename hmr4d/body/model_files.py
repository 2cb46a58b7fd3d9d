"""Arrays from body-model files: `.npz`, and the licensed `.pkl` with chumpy objects, without executing code in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from hmr4d.utils import inert_pickle
from hmr4d.utils.safe_pickle import UNREADABLE

_NO_ARRAY = (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError)  # raised by non-arrays
_MAX_NESTING = 16  # chumpy nodes inside chumpy nodes; real files have two


class _Kept(inert_pickle.Placeholder):
    """An object of a known class; only its attributes are read."""

    state: dict[str, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        """Keeps the attributes if the pickle hands over a plain dict."""
        self.state = state if isinstance(state, dict) else None


class _Chumpy(_Kept):
    """A chumpy node: `x` is its value, or it selects `a.ravel()[idxs]`."""


class _Csc(_Kept):
    """A compressed sparse column matrix."""


class _Csr(_Kept):
    """A compressed sparse row matrix."""


_SPARSE_CLASSES: dict[str, type[_Kept]] = {"csc_matrix": _Csc, "csr_matrix": _Csr}


def _reconstruct(cls: Any, *_: Any) -> Any:
    """Constructor of the oldest pickle protocols: returns an empty object of a class from the short list."""
    return cls.__new__(cls) if isinstance(cls, type) and issubclass(cls, inert_pickle.Placeholder) else None


class _ModelUnpickler(inert_pickle.Unpickler):
    """Keeps the attributes of chumpy nodes and sparse matrices; every other foreign class stays a placeholder."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE_CLASSES:
            return _SPARSE_CLASSES[name]
        if module in ("copy_reg", "copyreg") and name == "_reconstructor":
            return _reconstruct
        return super().find_class(module, name)


def read_model_arrays(path: str | Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Named arrays of a body-model file, as dense NumPy arrays; other entries are ignored.

    Args:
        path: `.npz`, or `.pkl` written by Python 2 or 3 with NumPy arrays, chumpy nodes and SciPy sparse matrices.
        keys: requested entries, for example "v_template".

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged file, missing entries (all are listed), or an entry that is not a numeric array.
    """
    path, keys = Path(path), tuple(keys)
    entries = _read_entries(path, keys)
    missing = [key for key in keys if key not in entries]
    if missing:
        raise ValueError(
            f"{path} has no {', '.join(missing)}; it contains {', '.join(sorted(map(str, entries))) or '-'}."
        )
    arrays = {}
    for key in keys:
        try:
            arrays[key] = _as_array(entries[key])
        except _NO_ARRAY as error:
            raise ValueError(f"{path}: '{key}' is no array of numbers: {error}.") from error
    return arrays


def read_all_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Every array of a `.pkl` body-model file, and the names of all other entries.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged file.
    """
    arrays, others = {}, []
    for key, value in _read_entries(Path(path), ()).items():
        try:
            arrays[str(key)] = _as_array(value)
        except _NO_ARRAY:
            others.append(str(key))
    return arrays, others


def _read_entries(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Entries of a file; of an `.npz`, only the requested ones are read."""
    if not path.is_file():
        raise FileNotFoundError(f"Body model not found: {path}.")
    try:
        return _read_npz(path, keys) if path.suffix == ".npz" else _read_pickle(path)
    except UNREADABLE as error:
        raise ValueError(f"{path} is damaged or no body model: {error}. Fetch it again.") from error


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        wanted: dict[str, Any] = dict.fromkeys(archive.files)
        return wanted | {key: archive[key] for key in keys if key in wanted}


def _read_pickle(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        entries = _ModelUnpickler(file, encoding="latin1").load()
    if not isinstance(entries, dict):
        raise ValueError(f"it contains a {type(entries).__name__}, expected a dict of arrays")
    return entries


def _as_array(value: Any, depth: int = 0) -> np.ndarray:
    """Dense array of numbers from an array, a chumpy node or a sparse matrix."""
    if depth > _MAX_NESTING:
        raise ValueError("its nodes are nested too deeply")
    if isinstance(value, _Kept):
        state = value.state or {}
        if isinstance(value, (_Csc, _Csr)):
            return _dense(value, state)
        if "x" in state:
            return _as_array(state["x"], depth + 1)
        if {"a", "idxs", "preferred_shape"} <= state.keys():
            flat = _as_array(state["a"], depth + 1).ravel()
            return flat[np.asarray(state["idxs"], np.int64)].reshape(state["preferred_shape"])
        raise ValueError(f"a node with {', '.join(sorted(map(str, state))) or 'nothing'} is not understood")
    if not isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
        raise ValueError(f"it is a {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"its type is {array.dtype}")
    return array


def _dense(matrix: _Kept, state: dict[str, Any]) -> np.ndarray:
    build = sparse.csc_matrix if isinstance(matrix, _Csc) else sparse.csr_matrix
    shape = state["_shape"] if "_shape" in state else state["shape"]
    result = build((state["data"], state["indices"], state["indptr"]), shape=shape)
    result.check_format(full_check=True)  # a wrong index would otherwise be read from outside the arrays
    return result.toarray()
