"""The file of a lifted motion reads back, as a motion file too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmr4d.body.skeleton import COCO17
from hmr4d.export.lift_npz import WORLD, LiftedMotion, save_lift_npz
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.metrics.lift_checks import LIMITS, LiftCheck


def motion(num_frames: int = 5) -> LiftedMotion:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.random((num_frames, *shape), np.float32)

    return LiftedMotion(
        joints_world=draw(17, 3), joints_cam=draw(17, 3), confidence=draw(17), residual=draw(17), spread=draw(17),
        contacts=draw(2) > 0.5, kp2d=draw(17, 2), kp2d_conf=draw(17), frame_ids=np.arange(num_frames) + 7,
        size=np.array([[1280.0, 720]] * 4), K4=rng.random((4, 4)), T_w2c=rng.random((4, 4, 4)), fps=25.0,
        skeleton=COCO17, person="3", seed=4, method="ground_ray",
        checks=(LiftCheck("jumps", 20.0), LiftCheck("sliding", float("nan"))),
    )  # fmt: skip


def test_everything_reads_back(tmp_path: Path) -> None:
    lifted, path = motion(), tmp_path / "lifted.npz"
    save_lift_npz(path, lifted, text="a walk", metadata={"model": "m"})
    read = load_motion_npz(path)
    assert (read.fps, read.skeleton, read.text) == (25.0, COCO17, "a walk")
    measured = {
        "jumps": {"value": 20.0, "limit": LIMITS["jumps"], "is_fine": False},
        "sliding": {"value": None, "limit": LIMITS["sliding"], "is_fine": True},
    }
    assert read.metadata == {"model": "m", "verdict": "doubtful", "checks": measured}
    np.testing.assert_array_equal(read.joints3d, lifted.joints_world)
    with np.load(path, allow_pickle=False) as arrays:
        for name in ("joints_world", "joints_cam", "confidence", "residual", "spread", "contacts", "kp2d", "kp2d_conf",
                     "frame_ids"):  # fmt: skip
            np.testing.assert_array_equal(arrays[name], getattr(lifted, name))
        np.testing.assert_allclose(arrays["root"], lifted.joints_world[:, [11, 12]].mean(1), atol=1e-7)
        assert arrays["contact_joints"].tolist() == ["left_ankle", "right_ankle"]
        np.testing.assert_array_equal(arrays["camera_K4"], lifted.K4[0])
        np.testing.assert_array_equal(arrays["rig_T_w2c"], lifted.T_w2c)
        assert (str(arrays["world"]), str(arrays["person"]), int(arrays["seed"])) == (WORLD, "3", 4)
        assert (str(arrays["verdict"]), arrays["doubts"].tolist()) == ("doubtful", ["jumps"])
        assert (str(arrays["method"]), int(arrays["lift_version"]), float(arrays["fps"])) == ("ground_ray", 1, 25.0)


def test_joints_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    lifted = motion()
    lifted.joints_world[2, 3] = np.nan
    with pytest.raises(ValueError, match="frame 2, joint 3"):
        save_lift_npz(tmp_path / "lifted.npz", lifted)
    assert not list(tmp_path.iterdir())
