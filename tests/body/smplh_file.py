"""Made-up SMPL+H model files of the true layout, with few vertices."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from hmr4d.body.skeleton import SMPL22

PARENTS = (
    *SMPL22.parents,
    20, 22, 23, 20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35,
    21, 37, 38, 21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50,
)  # fmt: skip
# Rest joints of a person with arms spread, metres: hips, spine, knees, ... as in SMPL22, hands around the wrists.
_BODY = np.array([
    [0, 0, 0], [.07, -.09, 0], [-.07, -.09, 0], [0, .11, 0], [.1, -.47, 0], [-.1, -.47, 0], [0, .24, 0],
    [.09, -.87, -.04], [-.09, -.87, -.04], [0, .29, 0], [.11, -.92, .08], [-.11, -.92, .08], [0, .5, -.03],
    [.08, .41, -.01], [-.08, .41, -.01], [.01, .57, .01], [.17, .44, -.02], [-.17, .44, -.02], [.43, .43, -.05],
    [-.43, .43, -.05], [.69, .44, -.05], [-.69, .44, -.05],
])  # fmt: skip
NUM_VERTICES = 104


def smplh_arrays(gender: str) -> dict[str, np.ndarray]:
    """Arrays with the true names and shapes but for the number of vertices; every joint is the mean of two of them."""
    rng = np.random.default_rng(["male", "female", "neutral"].index(gender))
    hands = np.concatenate([_BODY[side] + 0.08 * rng.normal(size=(15, 3)) for side in (20, 21)])
    joints = np.concatenate([_BODY * rng.uniform(0.95, 1.05), hands])
    offsets = 0.03 * rng.normal(size=joints.shape)
    regressor = np.zeros((52, NUM_VERTICES))
    regressor[np.arange(52), np.arange(52)] = regressor[np.arange(52), 52 + np.arange(52)] = 0.5
    return {
        "v_template": np.concatenate([joints + offsets, joints - offsets]),
        "shapedirs": 0.01 * rng.normal(size=(NUM_VERTICES, 3, 16)),
        "posedirs": np.zeros((NUM_VERTICES, 3, 459)),
        "J_regressor": regressor,
        "weights": np.full((NUM_VERTICES, 52), 1 / 52),
        "kintree_table": np.array([[4294967295, *PARENTS[1:]], range(52)], np.int64),
        "f": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.zeros(45),
    }


def write_smplh(folder: Path, *genders: str) -> Path:
    """`<folder>/smplh/<gender>/model.npz`, as the download unpacks."""
    for gender in genders or ("male", "female"):
        place = folder / "smplh" / gender
        place.mkdir(parents=True)
        np.savez_compressed(place / "model.npz", **smplh_arrays(gender))
    return folder


def write_pickled_smplh(path: Path, gender: str, protocol: int = 2) -> Path:
    """A `.pkl` with chumpy nodes and a sparse regressor, as in the licensed download."""
    path.write_bytes(pickled_model(smplh_arrays(gender), protocol))
    return path


def pickled_model(arrays: dict[str, Any], protocol: int = 2) -> bytes:
    """Pickle of a model whose template and shape directions are chumpy nodes, whose regressor is sparse.

    chumpy is not needed: classes with its names hold the attributes that its own pickles hold.
    """

    class Ch:
        def __init__(self, **attributes: Any) -> None:
            self.__dict__.update(attributes)

    class Select(Ch):
        pass

    modules = {"chumpy": types.ModuleType("chumpy")}
    for cls, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
        cls.__module__, cls.__qualname__ = module, cls.__name__
        modules[module] = types.ModuleType(module)
        setattr(modules[module], cls.__name__, cls)
    num_vertices, _, num_betas = arrays["shapedirs"].shape
    wide = np.concatenate([arrays["shapedirs"], np.ones((num_vertices, 3, 4))], -1)
    kept = np.arange(wide.size).reshape(wide.shape)[..., :num_betas]
    entries = arrays | {
        "shapedirs": Select(a=Ch(x=wide, _dirty_vars=set()), idxs=kept.ravel(), preferred_shape=kept.shape),
        "v_template": Ch(x=arrays["v_template"]),
        "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
        "bs_style": "lbs",
    }
    with mock.patch.dict(sys.modules, modules):
        return pickle.dumps(entries, protocol=protocol)


def joints_by_chains(gender: str, poses: np.ndarray, transl: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """Frame by frame and joint by joint with 4x4 matrices, vertices included."""
    arrays = smplh_arrays(gender)
    vertices = arrays["v_template"] + arrays["shapedirs"][..., : len(betas)] @ betas
    rest = arrays["J_regressor"] @ vertices
    result = np.zeros((len(poses), 52, 3))
    for frame in range(len(poses)):
        chain: list[np.ndarray] = []
        for joint, parent in enumerate(PARENTS):
            local = np.eye(4)
            local[:3, :3] = Rotation.from_rotvec(poses[frame, 3 * joint : 3 * joint + 3]).as_matrix()
            local[:3, 3] = rest[joint] - (rest[parent] if joint else 0)
            chain.append(local if joint == 0 else chain[parent] @ local)
            result[frame, joint] = chain[joint][:3, 3] + transl[frame]
    return result
