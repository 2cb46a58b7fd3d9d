"""MotionCritic over sets of motions: which frames it sees, in which frame of reference, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hmr4d.body.loading import load_body
from hmr4d.body.pose import OWN_BONES, Pose
from hmr4d.cli.critic import main as critic_command
from hmr4d.evaluation.critic_scores import critic_rows, critic_scores
from hmr4d.evaluators.motion_critic import CHECKPOINT_KEY, MotionCritic
from hmr4d.export.motion_npz import save_motion_npz
from hmr4d.geometry.rotations import rotvec_to_matrix
from hmr4d.motion.motion import Motion


def posed(num_frames: int, *, turn: float = 0.3, fps: float = 30.0) -> Motion:
    """A body that walks along x, turned about y, with one bent elbow."""
    rest = load_body().rest_joints
    angles = torch.zeros(num_frames, 22, 3)
    angles[:, 0, 1], angles[:, 18, 1] = turn, -0.8
    translation = torch.linspace(0, 1, num_frames)[:, None] * torch.tensor([1.0, 0.0, 0.0]) + 0.5
    pose = Pose(OWN_BONES, rotvec_to_matrix(angles), translation, rest)
    return Motion(pose.joints(), fps, pose=pose)


def small_critic() -> MotionCritic:
    torch.manual_seed(0)
    return MotionCritic(dim_feat=16, dim_rep=16, depth=1, num_heads=2, mlp_ratio=2.0).eval()


def test_the_critic_gets_the_pose_and_the_path_from_the_first_frame_on() -> None:
    rows = critic_rows(posed(80), "y_up")
    assert rows.shape == (60, 25, 3)
    assert torch.allclose(rows[:, 0], torch.tensor([0.0, 0.3, 0.0]), atol=1e-5)
    assert torch.allclose(rows[:, 18], torch.tensor([0.0, -0.8, 0.0]), atol=1e-5)
    assert torch.allclose(rows[:, 22:24], torch.zeros(60, 2, 3))
    assert torch.allclose(rows[0, 24], torch.zeros(3)) and float(rows[59, 24, 0]) == pytest.approx(59 / 79, abs=1e-4)


def test_the_frame_of_the_camera_is_upside_down() -> None:
    rows, turned = critic_rows(posed(60), "y_up"), critic_rows(posed(60), "camera")
    root, flipped = rotvec_to_matrix(rows[:, 0]), rotvec_to_matrix(turned[:, 0])
    assert torch.allclose(flipped, torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ root, atol=1e-5)
    assert torch.allclose(turned[:, 1:24], rows[:, 1:24], atol=1e-5)
    assert torch.allclose(turned[:, 24], rows[:, 24] * torch.tensor([1.0, -1.0, -1.0]), atol=1e-5)


def test_short_motions_are_skipped_and_counted() -> None:
    motions = {"long": posed(90), "just": posed(60, turn=1.0, fps=20.0), "short": posed(59)}
    found = critic_scores(small_critic(), motions)
    assert list(found.scores) == ["long", "just"] and found.excluded == {"short": "59 frames, fewer than 60"}
    told = found.summary()
    values = torch.tensor(list(found.scores.values()), dtype=torch.float64)
    assert told["mean"] == pytest.approx(float(values.mean())) and told["max"] == float(values.max())
    assert told["std"] == pytest.approx(float((values[0] - values[1]).abs() / 2))
    assert (told["scored"], told["fps"], told["frame"]) == (2, [20.0, 30.0], "y_up")
    alone = critic_scores(small_critic(), [posed(90)])
    assert alone.scores["0"] == pytest.approx(found.scores["long"], abs=1e-5)
    nothing = critic_scores(small_critic(), [posed(59)]).summary()
    assert nothing["mean"] is None and nothing["scored"] == 0


def test_motions_without_a_pose_get_rotations_that_follow_their_joints() -> None:
    motion = posed(60)
    joints = Motion(motion.joints3d, motion.fps)
    rows = critic_rows(joints, "y_up")
    assert torch.allclose(rows[:, 0], critic_rows(motion, "y_up")[:, 0], atol=0.05)


def test_the_command_scores_files_by_a_checkpoint_of_the_published_layout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_motion_npz(tmp_path / "motions" / "a.npz", posed(60))
    save_motion_npz(tmp_path / "motions" / "b.npz", posed(40))
    words = [str(tmp_path / "motions"), "--out", str(tmp_path / "critic.json"), "--device", "cpu", "--checkpoint"]
    assert critic_command([*words, str(tmp_path / "critic.pth")]) == 2  # no such file
    torch.manual_seed(0)
    published = {"module." + key: value for key, value in MotionCritic().state_dict().items()}
    torch.save({CHECKPOINT_KEY: published}, tmp_path / "critic.pth")
    assert critic_command([*words, str(tmp_path / "critic.pth")]) == 0
    told = json.loads((tmp_path / "critic.json").read_text("utf-8"))
    assert told["scored"] == 1 and len(told["excluded"]) == 1 and told["fps"] == [30.0]
    assert f"| {told['mean']:.3f} | {told['max']:.3f} |" in capsys.readouterr().out
