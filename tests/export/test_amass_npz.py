"""AMASS-style files, read by the project's reader of AMASS and posed by plain forward kinematics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.body.smplh_joints import load_smplh_joints
from hmr4d.data.importers.amass import read_amass
from hmr4d.export.amass_npz import REST_PELVIS, save_amass_npz
from tests.body.smplh_file import joints_by_chains, write_smplh
from tests.export.motions import HEADINGS, heading, rigid_motion, turn
from tests.motions import as_motion

MILLIMETER = 1e-3


def upright(z_up: np.ndarray) -> np.ndarray:
    """Points of a z-up world, y up."""
    x, y, z = np.moveaxis(z_up, -1, 0)
    return np.stack([x, z, -y], -1)


@pytest.mark.parametrize("degrees", HEADINGS)
def test_parameters_pose_the_licensed_model_like_the_motion(tmp_path: Path, degrees: float) -> None:
    model = load_smplh_joints(write_smplh(tmp_path, "neutral") / "smplh" / "neutral" / "model.npz")
    rest = model.template[:22]
    motion = rigid_motion(5, root=heading(degrees), rest=rest.numpy())
    done = save_amass_npz(tmp_path / "m.amass.npz", as_motion(motion, fps=30), rest_joints=rest)
    read = read_amass(tmp_path / "m.amass.npz")
    assert (read.poses.shape, read.fps, read.gender) == ((5, 156), 30, "neutral")
    assert not read.betas.any() and not read.poses[:, 66:].any()
    posed = joints_by_chains("neutral", read.poses.astype(np.float64), read.transl, read.betas)[:, :22]
    assert np.abs(upright(posed) - motion).max() < 0.1 * MILLIMETER
    assert done.largest < 0.1 * MILLIMETER


@pytest.mark.parametrize("root", [turn("x", -90.0), turn("z", 180.0), heading(180)])
def test_without_a_model_the_file_contains_the_bones_of_the_motion(tmp_path: Path, root) -> None:
    import roma

    from hmr4d.body.kinematics import posed_joints

    motion = rigid_motion(5, root=root)
    save_amass_npz(tmp_path / "m.amass.npz", as_motion(motion, fps=20, text="sways", metadata={"licence": "CC0"}))
    with np.load(tmp_path / "m.amass.npz", allow_pickle=False) as archive:
        content = {key: archive[key] for key in archive.files}
    assert {k: v.shape for k, v in content.items()} == {
        "poses": (5, 156),
        "trans": (5, 3),
        "betas": (16,),
        "dmpls": (5, 8),
        "gender": (),
        "mocap_framerate": (),
        "rest_joints": (22, 3),
        "metadata": (),
    }
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(content["poses"][:, :66]).double().unflatten(-1, (22, 3)))
    posed = posed_joints(rotations, torch.from_numpy(content["trans"]), torch.from_numpy(content["rest_joints"]))
    # The root turns about its own place: trans is what is left of it there.
    assert np.abs(upright(posed.numpy()) - motion).max() < 0.1 * MILLIMETER
    np.testing.assert_allclose(content["rest_joints"][0], REST_PELVIS)
    facts = json.loads(str(content["metadata"]))
    assert (facts["text"], facts["licence"], facts["fps"]) == ("sways", "CC0", 20)
    assert "z up" in facts["axes"] and facts["residual"]["largest_mm"] < 0.1


def test_invalid_motion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="skeleton 'dog' has none"):
        save_amass_npz(
            tmp_path / "m.npz", as_motion(np.zeros((3, 1, 3)), fps=20, skeleton=Skeleton("dog", ("tail",), (-1,), ()))
        )
    with pytest.raises(ValueError, match="no frames"):
        save_amass_npz(tmp_path / "m.npz", as_motion(np.zeros((0, SMPL22.num_joints, 3)), fps=20))
    assert not list(tmp_path.iterdir())
