"""The plane through the feet, and joints off it."""

from __future__ import annotations

import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.ray_lifting.features import ray_track
from hmr4d.methods.ray_lifting.ray_frame import FEET
from tests.methods.ray_lifting.walkers import camera, walker

REST = torch.tensor([0.08, 0.08, 0.02, 0.02])


def batched(rig: Rig) -> Rig:
    return Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])


@pytest.mark.parametrize(("height", "pitch", "roll"), [(1.6, 0.1, 0.05), (0.5, -0.05, -0.2), (4.5, 0.6, 0.3)])
def test_true_distances_behind_the_plane_give_the_true_joints(height: float, pitch: float, roll: float) -> None:
    joints3d, rig = walker(), batched(camera(height, pitch, roll))
    pixels = project(rig, joints3d)[0][:, 0]
    track = ray_track(rig, pixels, torch.ones(1, 40, 22), REST, fps=20.0)
    plane, along = track.frame.from_world(joints3d)
    assert (plane - track.plane).abs().max() < 2e-3  # a joint is seen where it is, whatever lies behind the plane
    assert (track.frame.to_world(track.plane, along) - joints3d).norm(dim=-1).max() < 3e-3
    assert track.features.isfinite().all()


def test_the_plane_stands_where_the_feet_do() -> None:
    joints3d, rig = walker(), batched(camera())
    track = ray_track(rig, project(rig, joints3d)[0][:, 0], torch.ones(1, 40, 22), REST, fps=20.0)
    place = track.frame.distance[..., None] * track.frame.ahead
    feet = joints3d[:, :, list(FEET)].mean(2) * torch.tensor([1.0, 0.0, 1.0])
    assert (place - feet).norm(dim=-1).mean() < 0.25
    standing = joints3d[:, :, list(FEET)][..., 1] < REST + 0.002
    off = (track.frame.from_world(joints3d)[1][..., list(FEET)] - track.floor).abs()
    assert off[standing].median() < 0.05


def test_motion_without_visible_feet_or_hips_has_a_position() -> None:
    joints3d, rig = walker(), batched(camera())
    pixels, conf = project(rig, joints3d)[0][:, 0], torch.ones(1, 40, 22)
    for hidden in (("knee", "ankle", "foot"), ("knee", "ankle", "foot", "hip", "pelvis")):
        gone = [i for i, name in enumerate(SMPL22.joint_names) if name.split("_")[-1] in hidden]
        conf[:, :, gone] = 0.0
        track = ray_track(rig, pixels, conf, REST, fps=20.0)
        assert track.features.isfinite().all()
        assert 1.0 < float(track.frame.distance.mean()) < 15.0
        assert not track.meets.any()


def test_tracks_without_observations_give_finite_features() -> None:
    track = ray_track(batched(camera()), torch.full((1, 20, 22, 2), torch.nan), torch.zeros(1, 20, 22), REST, fps=20.0)
    assert track.features.isfinite().all()
