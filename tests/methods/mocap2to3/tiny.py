"""Networks, pipelines, rigs and batches small enough for tests."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmr4d.body.skeleton import SMPL22
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.geometry.ground_pointmap import ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_condition, camera_pose, project
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec

NUM_FEATURES, NUM_CONDITION, CAM_DIM, GRID = 48, 72, 7, 8
ASLEEP = ("view_out", "mix_out", "condition2d_out", "hints_out", "hints_head", "embed_other")  # what starts at zero


def tiny_denoiser(*, awake: bool = True, **changes: Any) -> LiftingDenoiser:
    """Multi-view network of two narrow layers; awake gives the branches that start at zero some weight."""
    settings: dict[str, Any] = {
        "num_features": NUM_FEATURES,
        "num_condition_features": NUM_CONDITION,
        "cam_dim": CAM_DIM,
        "dim": 16,
        "ff_dim": 24,
        "num_layers": 2,
        "num_heads": 2,
        "dropout": 0.0,
        "use_views": True,
        "grid": GRID,
        "patch": 4,
    }
    torch.manual_seed(0)
    denoiser = LiftingDenoiser(**(settings | changes))
    if awake:
        for name, parameter in denoiser.named_parameters():
            if any(part in name for part in ASLEEP):
                nn.init.normal_(parameter, std=0.3)
    return denoiser.eval()


def random_inputs(
    batch: int = 2, num_views: int = 4, frames: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """x_t, pointmaps and the other keywords of a denoiser call."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x_t, pointmap = draw(batch, num_views, frames, NUM_FEATURES), draw(batch, num_views, 4, GRID, GRID)
    return (
        x_t,
        pointmap,
        {
            "t": torch.arange(batch) * 3,
            "lengths": torch.full((batch,), frames),
            "cam": draw(batch, num_views, CAM_DIM),
            "condition2d": draw(batch, frames, NUM_CONDITION),
        },
    )


def ring(num_views: int = 4, *, height: float = 1.5) -> Rig:
    """Cameras around a point 4 m in front of camera 0, which stands over the origin and heads to -z."""
    angles = torch.arange(num_views) * (2 * torch.pi / num_views)
    centers = torch.stack([4 * angles.sin(), torch.full((num_views,), height), 4 * angles.cos() - 4], -1)
    pitch = torch.full((num_views,), 0.12)
    return Rig(
        torch.tensor([1280.0, 960.0]).expand(num_views, 2).clone(),
        torch.tensor([1100.0, 1100.0, 640.0, 480.0]).expand(num_views, 4).clone(),
        camera_pose(pitch, torch.zeros(num_views), angles, centers),
    )


def people(batch: int, frames: int, *, content: str = "walk") -> Tensor:
    """(B, L, 22, 3) motions that stay within a meter of the middle of `ring`."""
    motions = []
    for i in range(batch):
        joints3d = torch.from_numpy(synthetic_joints(content, frames, np.random.default_rng(i)))
        middle = joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0])
        motions.append(joints3d - middle - torch.tensor([0.1 * i, 0.0, 4.0]))
    return torch.stack(motions)


def tiny_pipeline(denoiser: LiftingDenoiser | None = None, *, fps: float = 20.0, **settings: Any) -> Mocap2to3Pipeline:
    """Pipeline of ten diffusion steps; keywords that are no argument of it are sampling options."""
    options = {f.name for f in fields(LiftSamplingOptions)}
    sampling: dict[str, Any] = {"num_inference_steps": 10} | {
        k: settings.pop(k) for k in list(settings) if k in options
    }
    codec = settings.pop("codec", None) or BboxPose2DCodec(SMPL22)
    return Mocap2to3Pipeline(
        denoiser or tiny_denoiser(),
        codec,
        NoiseSchedule(10),
        sampling=LiftSamplingOptions(**sampling),
        fps=fps,
        **settings,
    ).eval()


class KnowsTheTruth(LiftingDenoiser):
    """Returns given features whatever it is shown; counts what it is asked.

    Args:
        truth: (B, V, L, D), one for each track or one for all.
        doubt: weight of what an untrained network says, added to it.
    """

    def __init__(self, truth: Tensor, *, doubt: float = 0.0) -> None:
        super().__init__(
            num_features=NUM_FEATURES,
            num_condition_features=NUM_CONDITION,
            dim=16,
            ff_dim=8,
            num_layers=1,
            num_heads=2,
            use_views=True,
            grid=GRID,
            patch=4,
        )
        self.truth, self.doubt, self.calls, self.maps = truth, doubt, 0, 0

    def encode_maps(self, pointmap: Tensor | None, known: Tensor | None = None) -> Tensor:
        self.maps += 1
        return super().encode_maps(pointmap, known)

    def forward(self, x_t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.calls += 1
        truth = self.truth[: len(x_t), :, : x_t.shape[2]].expand(len(x_t), -1, -1, -1)
        return truth + self.doubt * super().forward(x_t, *args, **kwargs)


def tiny_batch(lengths: tuple[int, ...] = (9, 6)) -> dict[str, Any]:
    """Training batch of walks seen by `ring`, zero padded."""
    codec, rig, longest = BboxPose2DCodec(SMPL22), ring(), max(lengths)
    joints3d = people(len(lengths), longest)
    valid = torch.arange(longest) < torch.tensor(lengths)[:, None]
    pixels = project(rig, joints3d)[0]
    visible = valid[..., None].expand(*valid.shape, 22)
    count = len(lengths)
    batch = {
        "joints3d": joints3d * valid[..., None, None],
        "features": codec.encode(pixels, rig.size) * valid[:, None, :, None],
        "kp2d_obs": pixels[:, 0] * valid[..., None, None],
        "visible": visible,
        "condition2d": codec.encode_condition(pixels[:, 0], rig.size[0], visible),
        "size": rig.size.expand(count, 4, 2),
        "K4": rig.K4.expand(count, 4, 4),
        "T_w2c": rig.T_w2c.expand(count, 4, 4, 4),
        "cond": camera_condition(rig).expand(count, 4, CAM_DIM),
        "pointmap": ground_pointmap(rig, GRID).expand(count, 4, 4, GRID, GRID),
        "lengths": torch.tensor(lengths),
        "valid": valid,
    }
    return batch
