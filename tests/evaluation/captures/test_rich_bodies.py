"""Joints of SMPL-X parameters, with a made-up model of the true layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from hmr4d.body.smpl_bodies import load_smpl_body
from hmr4d.evaluation.captures.rich_bodies import SmplxJoints
from tests.body.smpl_models import smpl_arrays

RNG = np.random.default_rng(0)
PARAMETERS = {
    "betas": np.repeat(0.5 * RNG.normal(size=(1, 10)), 3, 0),
    "global_orient": RNG.normal(size=(3, 3)),
    "body_pose": 0.3 * RNG.normal(size=(3, 63)),
    "transl": RNG.normal(size=(3, 3)),
    "left_hand_pose": RNG.normal(size=(3, 12)),
    "right_hand_pose": RNG.normal(size=(3, 12)),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    smplx, smpl = smpl_arrays("smplx"), smpl_arrays("smpl")
    (folder / "smplx").mkdir()
    (folder / "smpl").mkdir()
    np.savez(folder / "smplx" / "SMPLX_MALE.npz", **smplx)
    np.savez(folder / "smpl" / "SMPL_NEUTRAL.npz", **smpl)
    np.savez(folder / "transfer.npz", matrix=np.eye(len(smplx["v_template"])))  # both meshes are one here
    return folder


def chain(num_joints: int) -> np.ndarray:
    """(3, J, 3) joints by the kinematic chain, written out."""
    arrays = smpl_arrays("smplx")
    shaped = arrays["v_template"] + arrays["shapedirs"][..., :10] @ PARAMETERS["betas"][0]
    rest, parents = arrays["J_regressor"] @ shaped, arrays["kintree_table"][0]
    pose = np.concatenate([PARAMETERS["global_orient"], PARAMETERS["body_pose"]], 1).reshape(3, 22, 3)
    local = roma.rotvec_to_rotmat(torch.from_numpy(pose)).numpy()
    joints = np.zeros((3, num_joints, 3))
    for frame in range(3):
        turns = {}
        for j in range(num_joints):
            p = int(parents[j]) if j else -1
            turns[j] = local[frame, j] if p < 0 else turns[p] @ local[frame, j]
            joints[frame, j] = rest[j] if p < 0 else joints[frame, p] + turns[p] @ (rest[j] - rest[p])
    return joints + PARAMETERS["transl"][:, None]


def test_own_joints_are_those_of_the_chain(models: Path) -> None:
    found = SmplxJoints(models)(PARAMETERS, "male")
    assert found.shape == (3, 22, 3)
    np.testing.assert_allclose(found, chain(22), atol=1e-5)


def test_transferred_joints_are_averages_of_the_posed_mesh(models: Path) -> None:
    lifted = SmplxJoints(models, transfer=models / "transfer.npz")
    found = lifted(PARAMETERS, "male")
    assert found.shape == (3, 24, 3)
    np.testing.assert_allclose(found[:, :22], chain(22), atol=0.1)  # vertices near joints, bulges and all
    arrays = smpl_arrays("smplx")
    hands = [
        arrays[f"hands_mean{s[0]}"] + PARAMETERS[f"{s}_hand_pose"] @ arrays[f"hands_components{s[0]}"][:12]
        for s in ("left", "right")
    ]
    whole = np.concatenate([PARAMETERS["global_orient"], PARAMETERS["body_pose"], np.zeros((3, 9)), *hands], 1)
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(whole).float().reshape(3, 55, 3))
    betas = torch.from_numpy(PARAMETERS["betas"][0]).float()
    body = load_smpl_body("smplx", path=models / "smplx" / "SMPLX_MALE.npz", betas=betas)
    mesh = body.vertices(rotations, torch.from_numpy(PARAMETERS["transl"]).float()).double().numpy()
    np.testing.assert_allclose(found, smpl_arrays("smpl")["J_regressor"] @ mesh, atol=1e-4)


def test_missing_files_and_parameters_are_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="SMPLX_FEMALE"):
        SmplxJoints(models)(PARAMETERS, "female")
    np.savez(tmp_path / "wrong.npz", matrix=np.eye(5))
    with pytest.raises(ValueError, match=r"matrix is \(5, 5\)"):
        SmplxJoints(models, transfer=tmp_path / "wrong.npz")
