"""Training batches, the loss, and three steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.ray_lifting.data import RayBatches, RayData
from hmr4d.methods.ray_lifting.detections import DetectionVariety
from hmr4d.methods.ray_lifting.features import Prediction
from hmr4d.methods.ray_lifting.losses import laplace_scores
from hmr4d.methods.ray_lifting.motions import BodyVariety, MotionSource, other_bodies
from hmr4d.methods.ray_lifting.ray_frame import FEET
from hmr4d.motion.procedural import synthetic_joints
from tests.methods.ray_lifting.walkers import tiny_pipeline

EXACT = DetectionVariety(
    detector_share=0.0,
    noise_px=0.0,
    noise=0.0,
    limb=0.0,
    dropout=0.0,
    swap=0.0,
    mirror=0.0,
    outlier=0.0,
    missing=0.0,
    legless=0.0,
    toeless=0.0,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walks, turns and bows, in a store."""
    path = tmp_path_factory.mktemp("stores") / "synthetic"
    import_synthetic(path, num_clips=12)
    return path


def batches(store: Path, detection: DetectionVariety | None = None) -> RayBatches:
    data = RayData(
        [MotionSource(str(store))], fps=20.0, num_frames=40, batch_size=16, batches_per_epoch=2, detection=detection
    )
    return data.batches("train")


def test_a_batch_depends_on_its_seed_alone(store: Path) -> None:
    first, again, other = (batches(store)[seed] for seed in (5, 5, 6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["kp2d_obs"], other["kp2d_obs"])


def test_detections_agree_with_the_projection(store: Path) -> None:
    batch = batches(store, EXACT)[1]
    rig = Rig(batch["size"], batch["K4"], batch["T_w2c"])
    pixels, depth = (x[:, 0] for x in project(rig, batch["joints3d"]))
    seen = batch["conf"] > 0
    off = (pixels - batch["kp2d_obs"]).norm(dim=-1)[seen & (depth > 0.1)]
    assert float(seen.float().mean()) > 0.6 and float(off.quantile(0.95)) < 0.5  # gaps that are bridged are off more
    height = torch.linalg.inv(batch["T_w2c"])[:, 0, 1, 3]
    assert float(height.min()) > 0.39 and float(height.max()) < 6.01


def test_people_of_other_proportions_keep_their_feet_in_place(store: Path) -> None:
    joints3d = (
        torch.from_numpy(synthetic_joints("walk", 60, np.random.default_rng(1))).float()[None].repeat(32, 1, 1, 1)
    )
    variety = BodyVariety(limbs=0.1, bones=0.05)
    bodies = other_bodies(joints3d, variety, torch.Generator().manual_seed(0))
    parents, children = map(list, zip(*SMPL22.bones, strict=True))
    lengths = (bodies[:, :, children] - bodies[:, :, parents]).norm(dim=-1)
    ratio = lengths / (joints3d[:, :, children] - joints3d[:, :, parents]).norm(dim=-1)
    assert float(ratio.std(1).max()) < 1e-3  # one factor a bone, over all frames
    assert float(ratio.mean(1).std(0).min()) > 0.03
    lowest = joints3d[0, :, list(FEET), 1].argmin(-1)
    foot = bodies[:, torch.arange(60), torch.tensor(FEET)[lowest]]
    size = float(foot[:, :, 1].amin(1).max())
    assert size < 0.06
    steps = foot.diff(dim=1)[:, lowest.diff() == 0].norm(dim=-1)
    true = joints3d[:, torch.arange(60), torch.tensor(FEET)[lowest]].diff(dim=1)[:, lowest.diff() == 0].norm(dim=-1)
    assert float(steps.mean()) < 1.6 * float(true.mean()) + 0.005


def test_the_likelihood_is_best_at_the_mean_error() -> None:
    def score(log_along: float) -> float:
        zeros = torch.zeros(1, 1000, 22)
        error = torch.distributions.Laplace(0.0, 0.05).sample(zeros.shape)
        said = Prediction(torch.zeros(1, 1000, 22, 2), error, zeros + log_along, zeros, torch.zeros(1, 1000, 4))
        return float(laplace_scores(said, torch.zeros(1, 1000, 22, 2), zeros).mean())

    torch.manual_seed(0)
    right = score(float(np.log(0.05)))
    assert right < score(float(np.log(0.03))) and right < score(float(np.log(0.09)))


def test_training_lowers_the_loss_on_a_batch(store: Path) -> None:
    pipeline, batch = tiny_pipeline().train(), batches(store)[0]
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        terms = pipeline.training_loss(batch, None)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(float(terms["loss"].detach()))
    assert losses[-1] < 0.8 * losses[0]
