"""People who walk before one camera, and a network that knows them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.methods.ray_lifting.features import JOINTS, NUM_FEATURES, NUM_OUTPUTS
from hmr4d.methods.ray_lifting.fit import RayFitOptions
from hmr4d.methods.ray_lifting.network import RayNetwork
from hmr4d.methods.ray_lifting.pipeline import RayLiftingPipeline
from hmr4d.motion.procedural import synthetic_joints


def camera(height: float = 1.6, pitch: float = 0.1, roll: float = 0.05) -> Rig:
    """(1, ...) one camera over the floor."""
    angles = torch.tensor(pitch), torch.tensor(roll), torch.tensor(0.0)
    T_w2c = camera_pose(*angles, torch.tensor([0.0, height, 0.0]))
    return Rig(torch.tensor([[1280.0, 720.0]]), torch.tensor([[900.0, 900.0, 640.0, 360.0]]), T_w2c[None])


def pixels_of(joints3d: Tensor, rig: Rig) -> Tensor:
    """(B, L, J, 2) what the camera (1, ...) sees of motions (B, L, J, 3)."""
    return project(rig, joints3d)[0][:, 0]


def walker(frames: int = 40, *, away: float = 5.0, content: str = "walk", seed: int = 0) -> Tensor:
    """(1, L, 22, 3) meters, somebody who walks before the camera."""
    joints3d = torch.from_numpy(synthetic_joints(content, frames, np.random.default_rng(seed))).float()
    middle = joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0])
    return (joints3d - middle + torch.tensor([0.3, 0.0, -away]))[None]


def tiny_pipeline(**options: object) -> RayLiftingPipeline:
    """An untrained network of few weights."""
    torch.manual_seed(0)
    network = RayNetwork(dim=16, dilations=(1, 2))
    return RayLiftingPipeline(network, **{"fit": RayFitOptions(steps=4), **options}).eval()  # type: ignore[arg-type]


class Knows(nn.Module):
    """Answers with outputs (1, L, NUM_OUTPUTS) that are set to what it knows, to all else with their mirror image."""

    num_features, num_outputs, uncertainty = NUM_FEATURES, NUM_OUTPUTS, None

    def __init__(self, known: Tensor, outputs: Tensor) -> None:
        super().__init__()
        self.known, self.outputs, self.anchor = known, outputs, nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        del valid
        length = features.shape[1]
        if torch.allclose(features, self.known[:, :length], atol=1e-3):
            return self.outputs[:, :length]
        joints = self.outputs[:, :length, : 7 * JOINTS].unflatten(-1, (JOINTS, 7))[:, :, list(SMPL22.mirror_order)]
        joints = joints * torch.tensor([-1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0])
        return torch.cat([joints.flatten(2), self.outputs[:, :length, 7 * JOINTS :][..., [1, 0, 3, 2]]], -1)


def outputs_of(plane_error: Tensor, along: Tensor, *, log_scale: float = -4.0, stands: Tensor) -> Tensor:
    """Outputs: corrections (1, L, 22, 2) on the plane, meters (1, L, 22) behind it, and feet (1, L, 4) that stand."""
    joints = torch.zeros(*along.shape, 7)
    joints[..., :2], joints[..., 4] = plane_error / 0.2, along
    joints[..., 5:] = log_scale + 3.0
    assert joints.shape[2] == JOINTS
    return torch.cat([joints.flatten(2), 8.0 * (2.0 * stands.float() - 1.0)], -1)
