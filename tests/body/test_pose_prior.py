"""Poses learned from motion: headings taken off, usual poses near, unusual ones far, the file as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from hmr4d.body.pose_prior import PosePrior, fit_pose_prior, heading_rotation
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.procedural import synthetic_joints

CLIPS = [synthetic_joints(c, 60, np.random.default_rng(k)) for k, c in enumerate(("walk", "bow", "wave-left-hand"))]


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return fit_pose_prior(CLIPS, source="made up", size=40, stride=2)


def test_poses_face_forward_at_the_origin_and_differ(prior: PosePrior) -> None:
    left, right = SMPL22.indices("left_hip", "right_hip")
    across = prior.joints3d[:, left] - prior.joints3d[:, right]
    assert across[:, 0].min() > 0.1 and across[:, 2].abs().max() < 1e-4
    assert prior.joints3d.shape == (40, 22, 3) and prior.joints3d[:, 0].abs().max() < 1e-6
    flat = prior.joints3d.flatten(1)
    distance = torch.cdist(flat, flat) + torch.eye(40) * 9
    assert distance.min() > 1e-3


def test_a_turned_motion_gives_the_same_prior(prior: PosePrior) -> None:
    R = heading_rotation(torch.tensor(2.0)).numpy()
    turned = fit_pose_prior([clip @ R.T + [3, 0, 1] for clip in CLIPS], source="made up", size=40, stride=2)
    torch.testing.assert_close(turned.mean, prior.mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(turned.joints3d[0], prior.joints3d[0], atol=1e-3, rtol=0)


def test_broken_poses_are_farther_than_usual_ones(prior: PosePrior) -> None:
    usual = prior.rotations[:, 1:]
    generator = torch.Generator().manual_seed(0)
    broken = usual @ roma.rotvec_to_rotmat(0.8 * torch.randn(*usual.shape[:2], 3, generator=generator))
    near, far = (prior.distance(R[..., :2].mT.flatten(-2)) for R in (usual, broken))
    assert near.max() < far.min() and 0.05 < near.mean() < 3


def test_a_heading_turns_forward_to_the_left() -> None:
    turned = heading_rotation(torch.tensor(torch.pi / 2)) @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(turned, torch.tensor([1.0, 0.0, 0.0]))


def test_the_file_reads_back(prior: PosePrior, tmp_path: Path) -> None:
    prior.save(tmp_path / "prior.npz")
    read = PosePrior.load(tmp_path / "prior.npz")
    assert read.source == "made up"
    torch.testing.assert_close(read.joints3d, prior.joints3d, atol=2e-3, rtol=0)  # rotations in half precision
    torch.testing.assert_close(read.whitening, prior.whitening)


def test_a_prior_keeps_the_convention_of_its_joints(tmp_path: Path) -> None:
    for convention in (None, "bandai_namco"):
        made = fit_pose_prior(CLIPS[:1], source="made up", joint_convention=convention, size=4, stride=20)
        made.save(tmp_path / "prior.npz")
        assert PosePrior.load(tmp_path / "prior.npz").joint_convention == convention


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"prepare pose-prior"):
        PosePrior.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", format="else")
    with pytest.raises(ValueError, match="its format is else"):
        PosePrior.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="no motion to learn"):
        fit_pose_prior([], source="nothing")
