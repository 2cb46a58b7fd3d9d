"""Rotations from positions: exact on rigid bones in any attitude, smooth in time, left stays left, never undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from hmr4d.body import inverse_kinematics
from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22

REST = load_body("anny").rest_joints.double()
MILLIMETER = 1e-3
HEADINGS = [45.0 * k for k in range(8)]


def turn(axis: str, degrees: float | np.ndarray) -> Tensor:
    vectors = np.radians(degrees)[..., None] * np.eye(3)["xyz".index(axis)]
    return torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix())


def still(num_frames: int) -> Tensor:
    return torch.eye(3, dtype=torch.float64).repeat(num_frames, SMPL22.num_joints, 1, 1)


def smooth_rotations(num_frames: int, seed: int = 0, spread: float = 0.5) -> Tensor:
    """(L, 22, 3, 3): every joint sways on its own, slowly; elbows and knees only bend."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 2 * np.pi, num_frames)[:, None, None]
    sway = np.sin(time * rng.uniform(0.5, 2, (1, 22, 3)) + rng.uniform(0, 6, (1, 22, 3)))
    vectors = spread * rng.normal(size=(1, 22, 3)) * sway
    for joint, axis in {
        "left_knee": (1, 0, 0),
        "right_knee": (1, 0, 0),
        "left_elbow": (0, -1, 0),
        "right_elbow": (0, 1, 0),
    }.items():
        vectors[:, SMPL22.index(joint)] = (0.7 + 0.6 * sway[:, SMPL22.index(joint), :1]) * np.array(axis)
    return torch.from_numpy(Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(num_frames, 22, 3, 3))


def joints_of(rotations: Tensor, rest: Tensor = REST) -> Tensor:
    path = torch.linspace(0, 1, len(rotations), dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.2, -2.0])
    return posed_joints(rotations, path.double(), rest)


def largest_step(rotations: Tensor) -> Tensor:
    """(J,) degrees; largest turn of each joint from one frame to the next."""
    return torch.rad2deg(roma.rotmat_geodesic_distance(rotations[1:], rotations[:-1]).amax(0))


def arms_overhead(num_frames: int) -> Tensor:
    rotations = still(num_frames)
    lift = np.linspace(-80, 95, num_frames)
    rotations[:, SMPL22.index("left_shoulder")] = turn("z", lift)
    rotations[:, SMPL22.index("right_shoulder")] = turn("z", -lift)
    return rotations


def deep_bow(num_frames: int) -> Tensor:
    rotations = still(num_frames)
    for joint in ("spine1", "spine2", "spine3", "left_hip", "right_hip"):
        rotations[:, SMPL22.index(joint)] = turn("x", np.linspace(0, 40, num_frames) * (1 if "spine" in joint else -1))
    return rotations


def under(root: Tensor, rotations: Tensor) -> Tensor:
    """The same pose with the root turned first."""
    return torch.cat([(root @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)


MOTIONS = {
    "sway": smooth_rotations(60),
    "overhead": arms_overhead(60),
    "bow": deep_bow(60),
    "two full turns": under(turn("y", np.linspace(0, 720, 60)), smooth_rotations(60, 1)),
    "somersault": under(turn("x", np.linspace(0, 360, 60)), smooth_rotations(60, 2)),
    "cartwheel": under(turn("z", np.linspace(0, -360, 60)), arms_overhead(60)),
    "on the back": under(turn("x", -90.0)[None], smooth_rotations(60, 3)),
    "face down": under(turn("x", 90.0)[None], deep_bow(60)),
}


@pytest.mark.parametrize("rotations", MOTIONS.values(), ids=MOTIONS)
def test_rigid_bones_are_restored_in_every_heading_without_flips(rotations: Tensor) -> None:
    joints3d = torch.stack([joints_of(under(turn("y", heading)[None], rotations)) for heading in HEADINGS])
    solved = solve_pose(joints3d, clip_rest_joints(joints3d, REST))
    assert solved.residual.max() < 0.05 * MILLIMETER
    for found in solved.rotations:
        assert largest_step(found).max() < 1.5 * largest_step(rotations).max()
    orthonormal = torch.eye(3, dtype=torch.float64).expand_as(solved.rotations)
    torch.testing.assert_close(solved.rotations.mT @ solved.rotations, orthonormal, atol=1e-9, rtol=0)


def test_joints_below_the_root_do_not_know_the_heading() -> None:
    rotations = smooth_rotations(20, 4)
    straight = solve_pose(joints_of(rotations), REST)
    for attitude in (*(turn("y", h) for h in HEADINGS), turn("x", -90.0), turn("z", 180.0)):
        turned = solve_pose(joints_of(under(attitude[None], rotations)), REST)
        torch.testing.assert_close(turned.rotations[:, 1:], straight.rotations[:, 1:], atol=1e-3, rtol=0)
        torch.testing.assert_close(turned.rotations[:, 0], attitude @ straight.rotations[:, 0], atol=1e-3, rtol=0)


def test_the_rest_pose_is_no_rotation() -> None:
    solved = solve_pose(REST[None] + torch.tensor([3.0, 0.0, -1.0]), REST)
    torch.testing.assert_close(solved.rotations, still(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(solved.translation, torch.tensor([[3.0, 0.0, -1.0]], dtype=torch.float64))


def test_a_raised_right_hand_is_the_right_one() -> None:
    joints3d = REST[None].clone()
    shoulder = joints3d[0, SMPL22.index("right_shoulder")].clone()
    for joint, up in (("right_elbow", 0.28), ("right_wrist", 0.53)):  # the right side is at -x
        joints3d[0, SMPL22.index(joint)] = shoulder + torch.tensor([0.0, up, 0.0])
    solved = solve_pose(joints3d, clip_rest_joints(joints3d, REST))
    angles = roma.rotmat_to_rotvec(solved.rotations[0]).norm(dim=-1)
    assert torch.rad2deg(angles[SMPL22.index("right_shoulder")]) == pytest.approx(90, abs=1)
    others = [j for j in range(22) if j != SMPL22.index("right_shoulder")]
    assert torch.rad2deg(angles[others]).max() < 1
    posed = posed_joints(solved.rotations, solved.translation, clip_rest_joints(joints3d, REST))[0]
    assert posed[SMPL22.index("right_wrist"), 1] > posed[SMPL22.index("head"), 1]
    assert posed[SMPL22.index("left_wrist"), 1] < posed[SMPL22.index("head"), 1]


@pytest.mark.parametrize(("side", "sign"), [("left", 1.0), ("right", -1.0)])
def test_elbows_and_knees_are_hinges(side: str, sign: float) -> None:
    """Upper arm out and forearm up, lower leg out to the side: the upper part turns, the lower bends its own way."""
    joints3d = REST[None].clone()
    elbow, wrist, knee, ankle, foot = (SMPL22.index(f"{side}_{n}") for n in ("elbow", "wrist", "knee", "ankle", "foot"))
    joints3d[0, wrist] = joints3d[0, elbow] + torch.tensor([0.0, 0.25, 0.0])
    shift = joints3d[0, knee] + torch.tensor([sign * 0.41, 0.0, 0.0]) - joints3d[0, ankle]
    joints3d[0, [ankle, foot]] += shift
    vectors = roma.rotmat_to_rotvec(solve_pose(joints3d, REST).rotations[0])
    forearm, leg = vectors[elbow] / vectors[elbow].norm(), vectors[knee] / vectors[knee].norm()
    assert forearm @ torch.tensor([0.0, -sign, 0.0], dtype=torch.float64) > 0.85  # from +-x towards +z
    assert leg @ torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) > 0.85  # from -y towards -z


def test_a_turned_chest_is_shared_by_the_spine() -> None:
    rotations = still(1)
    rotations[:, SMPL22.index("spine3")] = turn("y", 60.0)
    solved = solve_pose(joints_of(rotations), REST)
    spine = SMPL22.indices("spine1", "spine2", "spine3")
    angles = torch.rad2deg(roma.rotmat_to_rotvec(solved.rotations[0, list(spine)]).norm(dim=-1))
    assert angles.min() > 15 and angles.max() < 35  # the bones of the spine are not quite upright
    assert solved.residual.max() < 0.05 * MILLIMETER


def test_bones_of_another_person_are_measured() -> None:
    rng = np.random.default_rng(0)
    offsets = torch.from_numpy(rng.normal(scale=0.02, size=(22, 3)))
    person = REST * 0.8 + offsets  # other lengths, and other angles between hips and spine
    joints3d = joints_of(smooth_rotations(40, 5), person)
    rest = clip_rest_joints(joints3d, REST)
    for parent, child in SMPL22.bones:
        length = (person[child] - person[parent]).norm()
        assert (rest[child] - rest[parent]).norm() == pytest.approx(float(length), abs=1e-6)
    assert solve_pose(joints3d, rest).residual.max() < 0.1 * MILLIMETER
    assert solve_pose(joints3d, REST).residual.max() > 10 * MILLIMETER


def test_stretching_bones_are_reported() -> None:
    joints3d = joints_of(smooth_rotations(40, 6))
    noisy = joints3d + 0.004 * torch.from_numpy(np.random.default_rng(0).normal(size=joints3d.shape))
    rest = clip_rest_joints(noisy, REST)
    solved = solve_pose(noisy, rest)
    posed = posed_joints(solved.rotations, solved.translation, rest)
    torch.testing.assert_close(solved.residual, (posed - noisy).norm(dim=-1))
    assert 1 * MILLIMETER < solved.residual.mean() < 20 * MILLIMETER
    for parent, child in SMPL22.bones[9:]:  # bones of limbs keep their direction
        if SMPL22.parents.count(parent) == 1:
            seen, made = (x[:, child] - x[:, parent] for x in (noisy, posed))
            assert torch.cosine_similarity(seen, made, dim=-1).min() > 1 - 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_leading_axes_one_shape_per_clip(dtype: torch.dtype) -> None:
    people = torch.stack([REST, 0.9 * REST]).to(dtype)
    rotations = torch.stack([smooth_rotations(10, 7), smooth_rotations(10, 8)]).to(dtype)
    joints3d = posed_joints(rotations, torch.zeros(2, 10, 3, dtype=dtype), people)
    rest = clip_rest_joints(joints3d, REST)
    solved = solve_pose(joints3d, rest)
    assert solved.rotations.shape == (2, 10, 22, 3, 3) and solved.residual.shape == (2, 10, 22)
    assert solved.rotations.dtype == solved.translation.dtype == rest.dtype == dtype
    assert solved.residual.max() < 0.1 * MILLIMETER
    alone = solve_pose(joints3d[1], rest[1])
    torch.testing.assert_close(solved.rotations[1], alone.rotations, atol=2e-4, rtol=0)


def test_bones_without_length_leave_their_joint_at_rest() -> None:
    joints3d = joints_of(smooth_rotations(8, 9))
    for child, parent in (("left_elbow", "left_shoulder"), ("right_collar", "spine3"), ("head", "neck")):
        joints3d[:, SMPL22.index(child)] = joints3d[:, SMPL22.index(parent)]
    for points in (joints3d, torch.zeros(3, 22, 3, dtype=torch.float64)):
        solved = solve_pose(points, clip_rest_joints(points, REST))
        assert solved.rotations.isfinite().all()
        torch.testing.assert_close(torch.linalg.det(solved.rotations), torch.ones(points.shape[:2]).double())
    assert solved.residual.max() < 1e-9
    torch.testing.assert_close(solved.rotations, still(3), atol=1e-9, rtol=0)


def test_bones_turned_right_round_have_a_rotation() -> None:
    rotations = still(22)
    rotations[range(22), range(22)] = turn("z", 180.0)  # one joint in each frame
    joints3d = joints_of(rotations)
    solved = solve_pose(joints3d, REST)
    assert solved.rotations.isfinite().all() and solved.residual.max() < 0.1 * MILLIMETER


def test_one_frame() -> None:
    joints3d = joints_of(smooth_rotations(5, 10))[2:3]
    assert solve_pose(joints3d, clip_rest_joints(joints3d, REST)).residual.max() < 0.05 * MILLIMETER


def test_input_that_is_no_motion_is_refused() -> None:
    with pytest.raises(ValueError, match=r"joints3d has shape \(4, 24, 3\), skeleton 'smpl22' needs \(..., L, 22, 3\)"):
        solve_pose(torch.zeros(4, 24, 3), REST)
    with pytest.raises(ValueError, match="rest_joints has shape"):
        solve_pose(torch.zeros(4, 22, 3), REST[:20])
    with pytest.raises(ValueError, match="not finite"):
        clip_rest_joints(torch.full((4, 22, 3), math.nan), REST)


@pytest.mark.parametrize("fps", [None, 20.0])
def test_treating_few_frames_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch, fps: float | None) -> None:
    """Twists are carried over the borders of blocks, those of a chest that turned twice too."""
    rotations = smooth_rotations(50, 11)
    rotations[:, SMPL22.index("spine1")] = turn("y", np.linspace(0, 800, 50))
    joints3d = torch.stack([joints_of(rotations), joints_of(smooth_rotations(50, 12))])
    whole = solve_pose(joints3d, REST, fps=fps)
    monkeypatch.setattr(inverse_kinematics, "FRAMES_AT_ONCE", 7)
    blocks = solve_pose(joints3d, REST, fps=fps)
    torch.testing.assert_close(blocks.rotations, whole.rotations, atol=1e-9, rtol=0)
    torch.testing.assert_close(blocks.residual, whole.residual, atol=1e-9, rtol=0)
