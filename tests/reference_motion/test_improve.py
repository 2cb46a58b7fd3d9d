"""What may be done to clips: tilted cameras leveled, noise taken out, feet locked; the body follows, the camera too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import rigid
from hmr4d.motion.pose_following import follow_pose
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.motion.rigid_motion import pose_motion
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.improve import smoothed, with_locked_feet
from hmr4d.reference_motion.placing import floor_height, leveled, moved, placed
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.reference_motion.video_camera import pinhole, upright_camera
from hmr4d.utils import lazy_roma as roma
from tests.motions import as_motion
from tests.reference_clips import posed_clip


def acting(content: str, num_frames: int = 80, *, noise: float = 0.0) -> ReferenceClip:
    """Somebody four meters before a level camera that is 1.5 m over the floor, with a pose."""
    rng = np.random.default_rng(1)
    joints3d = synthetic_joints(content, num_frames, rng) + np.array([0.0, -1.5, -4.0])
    joints3d = joints3d + noise * rng.normal(size=joints3d.shape)
    motion = as_motion(joints3d.astype(np.float32))
    pose = pose_motion(motion, derived_rest_joints()).pose
    motion = replace(motion, joints3d=pose.joints(), pose=pose)
    return ReferenceClip(motion, upright_camera(num_frames, pinhole(900, 640, 480)), is_level=False)


def tilted(clip: ReferenceClip, degrees: tuple[float, float]) -> ReferenceClip:
    """The clip as a camera sees it that is pitched and rolled by some degrees."""
    pitch, roll = (torch.tensor(d).deg2rad().item() for d in degrees)
    turns = roma.rotvec_to_rotmat(torch.tensor([[pitch, 0.0, 0.0], [0.0, 0.0, roll]], dtype=torch.float64))
    turned = moved(clip, rigid(turns[1] @ turns[0], torch.zeros(3).double()))
    return replace(turned, camera=clip.camera, is_level=False)


def tilt_of(clip: ReferenceClip, level: ReferenceClip) -> float:
    """Degrees between the up axes of two clips of the same body."""
    assert clip.motion.pose is not None and level.motion.pose is not None
    turn = clip.motion.pose.rotations[0, 0].double() @ level.motion.pose.rotations[0, 0].double().mT
    return float(torch.rad2deg(torch.acos(turn[1, 1].clamp(-1, 1))))


@pytest.mark.parametrize("degrees", [(-20.0, 4.0), (12.0, -6.0), (0.0, 0.0)])
@pytest.mark.parametrize("content", ["walk", "walk-turn-left", "wave-right-hand"])
def test_a_tilted_camera_is_leveled(content: str, degrees: tuple[float, float]) -> None:
    level = acting(content)
    clip = tilted(level, degrees)
    found = leveled(clip)
    assert found.is_level and tilt_of(clip, level) == pytest.approx(np.hypot(*degrees), abs=1.0)
    assert tilt_of(found, level) < 3.0
    if any(degrees):
        assert found.remarks[-1].startswith("The camera is tilted by")


def test_a_level_world_is_unchanged() -> None:
    clip = replace(acting("walk"), is_level=True)
    assert leveled(clip) is clip


def test_the_camera_goes_with_the_clip() -> None:
    clip = acting("walk", 30)
    for made in (placed(clip), leveled(tilted(clip, (10.0, 0.0)))):
        assert made.camera is not None
        T = made.camera.T_w2c
        seen = made.motion.joints3d @ T[:, :3, :3].mT + T[:, None, :3, 3]
        before = clip if made.motion.joints3d[0, 0, 1] > 0 else tilted(clip, (10.0, 0.0))
        expected = before.motion.joints3d * torch.tensor([1.0, -1.0, -1.0])
        torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


def jitter(joints3d: Tensor) -> float:
    return float(joints3d.diff(n=2, dim=0).norm(dim=-1).mean())


def test_noise_is_taken_out_and_a_fast_wave_stays() -> None:
    clean, noisy = acting("wave-right-hand"), acting("wave-right-hand", noise=0.01)
    made = smoothed(noisy)
    assert jitter(made.motion.joints3d) < 0.5 * jitter(noisy.motion.joints3d)
    wrist = 21
    way = [c.motion.joints3d[:, wrist].diff(dim=0).norm(dim=-1).sum() for c in (clean, made)]
    assert float(way[1]) > 0.85 * float(way[0])
    error = (made.motion.joints3d - clean.motion.joints3d).norm(dim=-1).mean()
    assert float(error) < float((noisy.motion.joints3d - clean.motion.joints3d).norm(dim=-1).mean())


def test_locked_feet_do_not_slide() -> None:
    clip = acting("bow")
    slide = torch.arange(80)[:, None, None] * torch.tensor([0.004, 0.0, 0.0])
    pose = clip.motion.pose
    assert pose is not None
    sliding = replace(pose, translation=pose.translation + slide[:, 0])
    clip = replace(clip, motion=replace(clip.motion, joints3d=sliding.joints(), pose=sliding))
    made = with_locked_feet(clip)

    def slip(joints3d: Tensor) -> float:
        return float(joints3d[:, [10, 11]].diff(dim=0)[..., [0, 2]].norm(dim=-1).median())

    assert slip(made.motion.joints3d) < 0.1 * slip(clip.motion.joints3d)
    assert made.motion.pose is not None
    torch.testing.assert_close(made.motion.pose.joints(), made.motion.joints3d, atol=1e-5, rtol=0)


def test_a_pose_follows_joints_and_keeps_its_twists() -> None:
    pose = posed_clip().motion.pose
    assert pose is not None
    same = follow_pose(pose, pose.joints())
    torch.testing.assert_close(same.rotations, pose.rotations, atol=1e-4, rtol=0)
    other = replace(pose, rotations=pose.rotations.roll(1, 0), translation=pose.translation + 0.1)
    followed = follow_pose(pose, other.joints())
    torch.testing.assert_close(followed.joints(), other.joints(), atol=1e-4, rtol=0)


def test_the_floor_is_found_by_standing_feet() -> None:
    clip = acting("bow")
    joints3d = clip.motion.joints3d.clone()
    joints3d[40, 10, 1] -= 0.3  # one foot dips for one frame
    assert floor_height(joints3d, 20.0) == pytest.approx(-1.5, abs=0.05)
    assert clip.motion.pose is not None
    pose = replace(clip.motion.pose, translation=clip.motion.pose.translation.clone())
    pose.translation[40, 1] -= 0.1
    clip = replace(clip, motion=replace(clip.motion, joints3d=pose.joints(), pose=pose))
    heights = {}
    for floor in ("lowest", "stances", "none"):
        features = convert(replace(clip, camera=None), floor=floor).features
        heights[floor] = float(features[:, 128:192:3].min())
    assert heights["lowest"] == pytest.approx(0, abs=0.01)
    assert heights["stances"] == pytest.approx(-0.1, abs=0.03) and heights["none"] < -0.5
    with pytest.raises(ValueError, match="floor is 'deep'"):
        convert(clip, floor="deep")
