"""The file of a lifted motion reads back, as a motion file too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import COCO17
from hmr4d.export.lift_npz import WORLD, LiftedPerson, lift_arrays, verdict_metadata
from hmr4d.export.motion_npz import load_motion_npz, save_motion_npz
from hmr4d.geometry.rigs import Rig
from hmr4d.metrics.lift_checks import LIMITS, LiftCheck
from hmr4d.motion.motion import Motion, Provenance, Views2D


def lifted_person(num_frames: int = 5, *, is_known: bool = True) -> LiftedPerson:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.random((num_frames, *shape), np.float32)

    turns = np.tile(np.eye(4), (4, 1, 1))
    turns[:, :3, 3] = rng.random((4, 3))
    rig = Rig(torch.tensor([[1280.0, 720]] * 4).double(), *(torch.from_numpy(x) for x in (rng.random((4, 4)), turns)))
    motion = Motion(
        torch.from_numpy(draw(17, 3)),
        25.0,
        COCO17,
        "a walk",
        provenance=Provenance(model="m", seed=4),
        views=Views2D(torch.zeros(4, num_frames, 17, 2), rig=rig),
        uncertainty=torch.from_numpy(draw(17)) if is_known else None,
    )
    lifted = LiftedPerson(
        motion,
        "3",
        "ground_ray",
        residual=draw(17),
        spread=draw(17),
        contacts=draw(2) > 0.5,
        kp2d=draw(17, 2),
        kp2d_conf=draw(17),
        frame_ids=np.arange(num_frames) + 7,
        checks=(LiftCheck("jumps", 20.0), LiftCheck("sliding", float("nan"))),
    )
    return replace(lifted, motion=replace(motion, provenance=motion.provenance.updated(**verdict_metadata(lifted))))


def save(path: Path, lifted: LiftedPerson) -> None:
    save_motion_npz(path, lifted.motion, arrays=lift_arrays(lifted))


def test_written_files_read_back_equal(tmp_path: Path) -> None:
    lifted, path = lifted_person(), tmp_path / "lifted.npz"
    save(path, lifted)
    read = load_motion_npz(path)
    assert (read.fps, read.skeleton, read.text) == (25.0, COCO17, "a walk")
    measured = {
        "jumps": {"value": 20.0, "limit": LIMITS["jumps"], "is_fine": False},
        "sliding": {"value": None, "limit": LIMITS["sliding"], "is_fine": True},
    }
    assert read.metadata == {"model": "m", "seed": 4, "verdict": "doubtful", "checks": measured}
    np.testing.assert_array_equal(read.joints3d, lifted.motion.joints3d)
    np.testing.assert_array_equal(read.uncertainty, lifted.motion.uncertainty)
    with np.load(path, allow_pickle=False) as arrays:
        for name in ("confidence", "residual", "spread", "contacts", "kp2d", "kp2d_conf", "frame_ids"):
            np.testing.assert_array_equal(arrays[name], getattr(lifted, name))
        world = lifted.motion.array()
        np.testing.assert_array_equal(arrays["joints_world"], world)
        np.testing.assert_allclose(arrays["joints_cam"], world + lifted.rig.T_w2c[0, :3, 3].numpy(), atol=1e-6)
        np.testing.assert_allclose(arrays["confidence"], 1 / (1 + (read.uncertainty / 0.05) ** 2), atol=1e-6)
        np.testing.assert_allclose(arrays["root"], world[:, [11, 12]].mean(1), atol=1e-7)
        assert arrays["contact_joints"].tolist() == ["left_ankle", "right_ankle"]
        np.testing.assert_array_equal(arrays["camera_K4"], lifted.rig.K4[0])
        np.testing.assert_array_equal(arrays["rig_T_w2c"], lifted.rig.T_w2c)
        assert (str(arrays["world"]), str(arrays["person"]), int(arrays["seed"])) == (WORLD, "3", 4)
        assert (str(arrays["verdict"]), arrays["doubts"].tolist()) == ("doubtful", ["jumps"])
        assert (str(arrays["method"]), int(arrays["lift_version"]), float(arrays["fps"])) == ("ground_ray", 1, 25.0)


def test_joints_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    lifted = lifted_person()
    lifted.motion.joints3d[2, 3] = torch.nan
    with pytest.raises(ValueError, match="frame 2, joint 3"):
        save(tmp_path / "lifted.npz", lifted)
    assert not list(tmp_path.iterdir())


def test_confidence_is_nan_if_the_method_does_not_estimate_errors(tmp_path: Path) -> None:
    save(tmp_path / "lifted.npz", lifted_person(is_known=False))
    with np.load(tmp_path / "lifted.npz", allow_pickle=False) as arrays:
        assert "uncertainty" not in arrays.files and np.isnan(arrays["confidence"]).all()
