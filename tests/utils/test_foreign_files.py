"""Trees of arrays from files of other programs: read whole, and nothing in them runs."""

from __future__ import annotations

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch

from hmr4d.utils.foreign_files import array_of, read_tree


def tree() -> dict[str, Any]:
    """Everything that such files hold: nested, in every order of memory, empty, of objects, and tensors."""
    rng = np.random.default_rng(0)
    people: dict[Any, Any] = collections.defaultdict(dict)
    people[3] = {"pose": rng.normal(size=(5, 72)).astype(np.float32), "ids": np.arange(5), "none": None}
    return {
        "people": people,
        "names": ["a", "b"],
        "fortran": np.asfortranarray(rng.normal(size=(4, 3))),
        "empty": np.zeros((0, 3)),
        "scalar": np.float64(2.5),
        "tensor": torch.arange(6.0).reshape(2, 3).T,
        "objects": np.array([np.ones(2), np.zeros(3)], dtype=object),
        "flags": np.array([True, False]),
    }


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        for ours, theirs in zip(found, expected, strict=True):
            assert_same(ours, theirs)
    elif isinstance(expected, np.ndarray | torch.Tensor):
        assert found.dtype == expected.dtype and tuple(found.shape) == tuple(expected.shape)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    else:
        assert found == expected


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 1), ("lzma", 1)])
def test_files_of_joblib_are_read(tmp_path: Path, compress: Any) -> None:
    joblib.dump(tree(), tmp_path / "a.pkl", compress=compress)
    assert_same(read_tree(tmp_path / "a.pkl"), tree())


def test_pickles_and_arrays_of_one_object_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree()))
    np.save(tmp_path / "b.npy", tree(), allow_pickle=True)  # pyright: ignore[reportArgumentType]
    for name in ("a.pkl", "b.npy"):
        assert_same(read_tree(tmp_path / name), tree())


@pytest.mark.parametrize("is_zip", [True, False])
def test_files_of_torch_are_read(tmp_path: Path, is_zip: bool) -> None:
    content: dict[str, Any] = {"x": torch.ones(2, 3), "deep": {"y": [torch.zeros(1)]}, "n": np.arange(3)}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=is_zip)
    found = read_tree(tmp_path / "a.pt")
    assert torch.equal(found["x"], content["x"]) and torch.equal(found["deep"]["y"][0], torch.zeros(1))


def test_archives_of_arrays_are_read_with_texts_stored_as_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.ones((2, 3)), gender=np.array("male", dtype=object))
    found = read_tree(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["poses"], np.ones((2, 3)))
    assert str(found["gender"]) == "male"


class Evil:
    """Asks to make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_nothing_in_a_file_runs(tmp_path: Path) -> None:
    bad = {"x": np.ones(2), "bad": Evil(tmp_path / "made")}
    joblib.dump(bad, tmp_path / "a.pkl")
    np.save(tmp_path / "b.npy", bad, allow_pickle=True)  # pyright: ignore[reportArgumentType]
    torch.save(bad, tmp_path / "c.pt")
    for name in ("a.pkl", "b.npy", "c.pt"):
        np.testing.assert_array_equal(read_tree(tmp_path / name)["x"], np.ones(2))
    assert not (tmp_path / "made").exists()


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    for compress in (0, 3):
        joblib.dump(tree(), tmp_path / "a.pkl", compress=compress)
        content = (tmp_path / "a.pkl").read_bytes()
        for share in (0.0, 0.2, 0.5, 0.9):
            (tmp_path / "a.pkl").write_bytes(content[: int(share * len(content))])
            with pytest.raises(ValueError, match="damaged"):
                read_tree(tmp_path / "a.pkl")
    (tmp_path / "t.txt").write_text("frame,x\n1,2\n")
    with pytest.raises(ValueError, match="damaged or of no kind"):
        read_tree(tmp_path / "t.txt")


def test_numbers_are_taken_from_any_holder() -> None:
    frames = np.empty(2, dtype=object)
    frames[:] = [torch.ones(3), np.zeros(3)]
    np.testing.assert_array_equal(array_of(frames, "x"), [[1, 1, 1], [0, 0, 0]])
    with pytest.raises(ValueError, match="'x' is not numeric"):
        array_of("text", "x")
