"""Four clips learned by heart: the whole way from a store through training and sampling to metric 3D motion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.rig_samplers import SurroundingRigs
from hmr4d.data.batching import collate
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.data.lifting.views import LiftingViews
from hmr4d.diffusion.schedule import NoiseSchedule
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.mocap2to3.denoiser import LiftingDenoiser
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions, LiftTrainingOptions
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec

STEPS = 500


@pytest.mark.slow
def test_four_clips_are_lifted_to_a_few_centimeters(tmp_path: Path) -> None:
    import_synthetic(tmp_path / "store", num_clips=12)
    codec = BboxPose2DCodec(SMPL22)
    views = LiftingViews(
        str(tmp_path / "store"),
        "train",
        rigs=SurroundingRigs(),
        codec=codec,
        fps=20.0,
        min_frames=24,
        max_frames=24,
        grid=32,
    )
    batch = collate([views[i, i] for i in range(4)])
    torch.manual_seed(0)
    denoiser = LiftingDenoiser(
        num_features=48,
        num_condition_features=72,
        dim=96,
        ff_dim=192,
        num_layers=2,
        dropout=0.0,
        use_views=True,
        grid=32,
    )
    pipeline = Mocap2to3Pipeline(
        denoiser,
        codec,
        NoiseSchedule(100),
        fps=20.0,
        sampling=LiftSamplingOptions(num_inference_steps=10, step="ddim"),
        training=LiftTrainingOptions(drop_camera=0.0),
    )
    optimizer = torch.optim.AdamW(pipeline.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=STEPS)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        loss = pipeline.training_loss(batch, pipeline.draw_training(batch, generator))["loss"]
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(pipeline.parameters(), 0.5)
        optimizer.step()
        rate.step()
    pipeline.eval()
    rig = Rig(batch["size"], batch["K4"], batch["T_w2c"])
    out = pipeline.lift(batch["kp2d_obs"], batch["visible"].float(), rig, lengths=batch["lengths"])
    error = (out.joints3d - batch["joints3d"]).norm(dim=-1).mean()
    assert float(error) < 0.05  # meters, aligned to nothing
