"""Finished motion: a path that goes on where the root is out of sight, smoothing that leaves steps, constant bones."""

from __future__ import annotations

import numpy as np
import torch

from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.mocap2to3.bone_fit import fit_bones
from hmr4d.methods.mocap2to3.cleaning import hold_root, smooth_as_seen
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.motion.procedural import synthetic_joints
from tests.methods.mocap2to3.tiny import ring

FPS = 20.0
LIGHT = load_light_body().rest_joints
PARENTS, CHILDREN = (list(ends) for ends in zip(*SMPL22.bones, strict=True))


def walk(frames: int = 40) -> torch.Tensor:
    """(L, 22, 3) somebody who walks four meters ahead of camera 0 of `ring`."""
    joints3d = torch.from_numpy(synthetic_joints("walk", frames, np.random.default_rng(0)))
    return joints3d - joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([0.0, 0.0, -4.0])


def lengths(joints3d: torch.Tensor) -> torch.Tensor:
    return (joints3d[..., CHILDREN, :] - joints3d[..., PARENTS, :]).norm(dim=-1)


def test_a_path_continues_where_the_root_is_out_of_sight() -> None:
    body = LIGHT - LIGHT[:1]
    path = torch.stack([torch.arange(60) / FPS * 1.2, torch.full((60,), 0.9), torch.full((60,), -4.0)], -1)
    truth = path[:, None] + body
    seen = torch.ones(60, dtype=torch.bool)
    seen[:8], seen[50:] = False, False
    corrupted = truth.clone()
    corrupted[:8] += torch.tensor([0.3, 0.0, 1.5])
    corrupted[50:] += torch.tensor([0.0, 0.4, -2.0])
    held = hold_root(corrupted, seen, fps=FPS, root_joints=SMPL22.root_joints)
    torch.testing.assert_close(held, truth, atol=1e-4, rtol=0)
    seen[30:36] = False  # what happens in between is left to the network
    torch.testing.assert_close(hold_root(truth, seen, fps=FPS, root_joints=SMPL22.root_joints), truth)
    nobody = torch.zeros(60, dtype=torch.bool)
    assert torch.equal(hold_root(corrupted, nobody, fps=FPS, root_joints=SMPL22.root_joints), corrupted)


def test_a_path_is_extrapolated_for_one_second_only() -> None:
    body = (LIGHT - LIGHT[:1]).expand(100, 22, 3) + torch.tensor([0.0, 0.9, -4.0])
    body = body + torch.arange(100)[:, None, None] / FPS * torch.tensor([1.0, 0.0, 0.0])
    stays = body.clone()
    stays[50:] = body[50:51]
    held = hold_root(stays, torch.arange(100) < 50, fps=FPS, root_joints=SMPL22.root_joints)
    torch.testing.assert_close(held[:70], body[:70], atol=1e-4, rtol=0)
    torch.testing.assert_close(held[70:], held[69:70].expand(30, 22, 3), atol=1e-4, rtol=0)


def test_smoothing_the_depth_of_the_root_leaves_steps_along_the_ray() -> None:
    """Somebody who walks towards the camera: the swing of the ankles stays, the trembling of the root goes."""
    turn = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    joints3d, rig = walk(), ring()
    middle = joints3d[:, :1].mean(0)
    for rotation in (torch.eye(3), turn):
        motion = (joints3d - middle) @ rotation.mT + middle
        tremble = 0.05 * torch.randn(40, 1, 1, generator=torch.manual_seed(0)) * torch.tensor([0.0, 0.0, 1.0])
        batched = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
        options = LiftSamplingOptions(smooth_depth=0.3, smooth_limb_depth=0.05)
        smooth, rough = (
            smooth_as_seen(x[None], batched, torch.tensor([40]), options, fps=FPS, root_joints=SMPL22.root_joints)[0]
            for x in (motion, motion + tremble)
        )
        assert (smooth - motion)[:, SMPL22.index("left_ankle")].norm(dim=-1).mean() < 0.02
        assert (rough - smooth)[:, 0].norm(dim=-1).mean() < 0.5 * tremble.norm(dim=-1).mean()


def test_bones_keep_their_length_and_limbs_come_off_the_image_plane() -> None:
    """A motion whose limbs were lifted too flat and trembling comes nearer to the truth."""
    truth, rig = walk(), ring()
    pixels = project(rig.select([0]), truth)[0][0]
    center = rig.centers[0]
    depth = 0.4 * (truth[..., 2:] - truth[:, :1, 2:]) / (truth[:, :1, 2:] - center[2])
    depth = depth + 0.02 * torch.randn(*depth.shape, generator=torch.manual_seed(0))
    flat = center + (truth - center) * (1 - depth)  # every joint stays on its ray
    fitted = fit_bones(
        flat, pixels, torch.ones(pixels.shape[:2]), rig, lengths(truth).mean(0), fps=FPS, skeleton=SMPL22
    )
    before, after = ((x - truth).norm(dim=-1).mean() for x in (flat, fitted))
    assert after < 0.75 * before
    spread = [lengths(x).std(0) / lengths(x).mean(0) for x in (flat, fitted)]
    assert spread[1].mean() < 0.02 and spread[0].mean() > 0.03
    twins = [CHILDREN.index(SMPL22.mirror_order[c]) for c in CHILDREN]
    mean = lengths(fitted).mean(0)
    torch.testing.assert_close(mean, mean[twins], rtol=0.02, atol=0)
    behind = flat + torch.tensor([0.0, 0.0, 6.0])
    assert torch.equal(
        fit_bones(behind, pixels, torch.ones(pixels.shape[:2]), rig, lengths(truth).mean(0), fps=FPS, skeleton=SMPL22),
        behind,
    )
