"""Made-up SMPL, SMPL+H and SMPL-X models of the true layout: plain bones with fingers, that bulge when they bend."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_files import FAMILIES
from tests.body.smplh_file import PARENTS as SMPLH_PARENTS
from tests.body.smplh_file import pickled_model

NUM_BETAS = {"smpl": 10, "smplh": 16, "smplx": 400}
PARENTS = {
    "smpl": (*SMPL22.parents, 20, 21),
    "smplh": SMPLH_PARENTS,
    "smplx": (*SMPL22.parents, 15, 15, 15, *(p if p < 22 else p + 3 for p in SMPLH_PARENTS[22:])),
}
_ROOT = np.array([0.0, -0.22, 0.03])  # meters; where the root of the true models is


def smpl_arrays(family: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays with the true names, types and shapes but for the number of vertices.

    The first shape coefficient makes the body larger, the second longer; the others are small random changes.
    """
    rng, stick, parents = np.random.default_rng(seed), load_body("stick"), PARENTS[family]
    num_joints, num_vertices = len(parents), stick.num_vertices
    vertices = stick.rest_vertices.double().numpy() - stick.rest_joints[0].double().numpy() + _ROOT
    joints = stick.rest_joints.double().numpy() - stick.rest_joints[0].double().numpy() + _ROOT
    regressor = np.zeros((num_joints, num_vertices))
    for j, parent in enumerate(parents):
        if j < 22:
            regressor[j, np.linalg.norm(vertices - joints[j], axis=1).argmin()] = 1.0
        else:  # of fingers, jaw and eyes: somewhere in the mesh of the hand or head
            body = next(p for p in (parent, parents[parent], parents[parents[parent]]) if p < 22)
            own = np.flatnonzero(stick.skin_indices[:, 0].numpy() == body)
            regressor[j, own] = rng.dirichlet(np.ones(len(own)))
    weights = np.zeros((num_vertices, num_joints))
    owner = stick.skin_indices[:, 0].numpy()
    weights[np.arange(num_vertices), owner] = 0.75
    np.add.at(weights, (np.arange(num_vertices), np.maximum(np.array(parents)[owner], 0)), 0.25)
    shapes = 0.002 * rng.normal(size=(num_vertices, 3, NUM_BETAS[family]))
    shapes[..., 0], shapes[..., 1] = 0.03 * vertices, 0.03 * vertices * np.array([0, 1, 0])
    arrays = {
        "v_template": vertices,
        "f": stick.faces.numpy().astype(np.uint32),
        "shapedirs": shapes,
        "posedirs": 0.003 * rng.normal(size=(num_vertices, 3, 9 * (num_joints - 1))),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([[4294967295, *parents[1:]], range(num_joints)], np.int64),
    }
    if family != "smpl":
        arrays |= {f"hands_components{side}": np.eye(45) for side in "lr"}
        arrays |= {f"hands_mean{side}": 0.1 * rng.normal(size=45) for side in "lr"}
    if family == "smplx":
        arrays |= {"lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.full((51, 3), 1 / 3)}
        arrays |= {"dynamic_lmk_faces_idx": np.zeros((79, 17), np.int64)}
        arrays |= {"dynamic_lmk_bary_coords": np.full((79, 17, 3), 1 / 3)}
    return arrays


def write_model(folder: Path, family: str, gender: str = "neutral", *, ending: str = "npz") -> Path:
    """`<folder>/<family>/<FAMILY>_<GENDER>.<ending>`; a `.pkl` has chumpy nodes and a sparse regressor inside."""
    assert family in FAMILIES
    path = folder / family / f"{family.upper()}_{gender.upper()}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = smpl_arrays(family, seed=len(gender))
    if ending == "npz":
        np.savez_compressed(path, **arrays)
    else:
        path.write_bytes(pickled_model(arrays))
    return path
