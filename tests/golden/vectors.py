"""Where the golden vectors lie, how they are read and how results are compared with them.

The folder of all vectors is not part of the repository. A clone without it has the subset in tests/data/golden.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[2]
PLACES = (REPOSITORY.parent / "shared" / "golden", REPOSITORY / "tests" / "data" / "golden")
TOLERANCE = 1e-4  # absolute; the README of the vectors asks for it
PIXEL_ROUNDING = 5e-7  # relative, four units in the last place: coordinates over 1000 have no 1e-4 in float32

largest_errors: dict[str, float] = {}


def golden_root() -> Path | None:
    """Folder from HMR4D_GOLDEN, else the first place that exists."""
    if named := os.environ.get("HMR4D_GOLDEN"):
        return Path(named)
    return next((place for place in PLACES if place.is_dir()), None)


def data_places(folder: Path) -> list[Path]:
    """Where source data of the vectors in `folder` may lie: beside them, in ../../data, in the data of `PLACES`."""
    data = [folder.parent.parent / "data", *(place.parent / "data" for place in PLACES)]
    return [folder, *dict.fromkeys(place.resolve() for place in data)]


def golden_file(name: str) -> Path:
    """Path of a file below the golden root; skips the test when it is not there, fails when the root is misnamed."""
    root = golden_root()
    if os.environ.get("HMR4D_GOLDEN") and root is not None and not root.is_dir():
        pytest.fail(f"HMR4D_GOLDEN names {root}, which is no folder; mend it or unset it", pytrace=False)
    if root is None:
        pytest.skip(f"no golden vectors: neither {' nor '.join(map(str, PLACES))}; set HMR4D_GOLDEN")
    path = root / name
    if not path.exists():
        pytest.skip(f"no golden vectors {path}; set HMR4D_GOLDEN to a folder that has them")
    return path


def has_golden_file(name: str) -> bool:
    """Whether there is a file of this name below the golden root; a set of vectors may leave files out."""
    root = golden_root()
    return root is not None and (root / name).exists()


@lru_cache(maxsize=64)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def arrays(name: str) -> dict[str, np.ndarray]:
    """Arrays of motion2to3/<name>; shared between tests, to be read only."""
    return _arrays(golden_file(f"motion2to3/{name}"))


def tensors(name: str) -> dict[str, Tensor]:
    """Numeric arrays of motion2to3/<name> as tensors of their own memory; half precision is widened."""
    return {
        key: torch.from_numpy(np.array(value, dtype=np.float32 if value.dtype == np.float16 else value.dtype))
        for key, value in arrays(name).items()
        if value.dtype.kind in "fiub"
    }


def read_json(name: str) -> Any:
    return json.loads(golden_file(name).read_text(encoding="utf-8"))


def seed() -> int:
    """The seed that this set of vectors was made with."""
    return int(golden_file("motion2to3/SEED.txt").read_text().strip())


def groups(names: Any) -> list[str]:
    """First parts of keys `group/key`, in order."""
    return list(dict.fromkeys(name.split("/", 1)[0] for name in names))


def numbered(names: Any, pattern: str) -> list[int]:
    """Sorted numbers that the one group of a pattern finds in names."""
    return sorted({int(m.group(1)) for m in (re.fullmatch(pattern, name) for name in names) if m})


def assert_close(
    what: str, got: Tensor | np.ndarray, expected: Tensor | np.ndarray, atol: float = TOLERANCE, rtol: float = 0.0
) -> None:
    """Equal shapes and values; keeps the largest error for the summary."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    error = np.abs(got - expected)
    largest = float(error.max(initial=0.0))
    largest_errors[what] = max(largest, largest_errors.get(what, 0.0))
    # Written so that a NaN fails.
    assert (error <= atol + rtol * np.abs(expected)).all(), f"{what}: largest error {largest:.3g}, allowed {atol:g}"


def recipe(key: str, shape: tuple[int, ...]) -> Tensor:
    """Weights of a published parameter by the recipe of the vectors' README."""
    normal = np.random.RandomState((zlib.crc32(key.encode()) + seed()) & 0x7FFFFFFF).standard_normal(shape)
    *_, module, leaf = ["", *key.split(".")]
    if "norm" in module and leaf == "weight":
        value = 1 + 0.1 * normal
    elif len(shape) == 1:
        value = 0.05 * normal
    else:
        value = normal / np.sqrt(shape[-1])
    return torch.from_numpy(value.astype(np.float32))


def features(x: Tensor) -> Tensor:
    """Published (..., D, L) -> ours (..., L, D)."""
    return x.transpose(-1, -2)


def token_mask(counts: Tensor, length: int) -> Tensor:
    """(B, M) bool of token counts (B,)."""
    return torch.arange(length) < counts[:, None]
