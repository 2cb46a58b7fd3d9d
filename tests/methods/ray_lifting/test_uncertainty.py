"""The network of the expected errors: what it learns, what it leaves alone, and releases without it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hmr4d.data.importers.synthetic import import_synthetic
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.ray_lifting.data import RayData
from hmr4d.methods.ray_lifting.features import mirrored_back, mirrored_view, ray_track
from hmr4d.methods.ray_lifting.fit import RayFitOptions
from hmr4d.methods.ray_lifting.method import METHOD
from hmr4d.methods.ray_lifting.module import RayLiftingModule
from hmr4d.methods.ray_lifting.motions import MotionSource
from hmr4d.methods.ray_lifting.network import RayNetwork
from hmr4d.methods.ray_lifting.pipeline import SIZES, RayLiftingPipeline
from hmr4d.methods.ray_lifting.uncertainty import error_sizes, evidence, size_scores
from tests.methods.ray_lifting.walkers import camera, pixels_of, tiny_pipeline, walker


def pipeline_with_uncertainty(width: int = 8) -> RayLiftingPipeline:
    torch.manual_seed(0)
    network = RayNetwork(dim=16, dilations=(1, 2), uncertainty=width)
    return RayLiftingPipeline(network, fit=RayFitOptions(steps=2)).eval()


def lifted_sizes(pipeline: RayLiftingPipeline, joints3d: Tensor, conf: Tensor) -> dict[str, Tensor]:
    rig = camera()
    extras = pipeline.lift(pixels_of(joints3d, rig), conf, rig, fps=20.0).extras
    return {name: extras[name] for name in (*SIZES, "uncertainty")}


def test_before_its_training_it_repeats_the_scales_of_the_network() -> None:
    joints3d, conf = walker(20), torch.ones(1, 20, 22)
    without, new = (lifted_sizes(p, joints3d, conf) for p in (tiny_pipeline(fit=RayFitOptions(steps=2)), fresh()))
    assert all(torch.allclose(without[name], new[name]) for name in without)
    assert torch.equal(new["sigma"], new["uncertainty"])


def fresh() -> RayLiftingPipeline:
    """A pipeline with the weights of `tiny_pipeline` and an untrained network of the expected errors."""
    pipeline = pipeline_with_uncertainty()
    pipeline.network.load_state_dict(tiny_pipeline().network.state_dict(), strict=False)
    return pipeline


def test_its_training_learns_the_errors_and_leaves_the_joints(tmp_path: Path) -> None:
    import_synthetic(tmp_path / "store", num_clips=4)
    sources = [MotionSource(str(tmp_path / "store"))]
    batch = RayData(sources, fps=20.0, num_frames=24, batch_size=8, batches_per_epoch=1).batches("train")[0]
    pipeline = pipeline_with_uncertainty()
    module = RayLiftingModule(pipeline, optimizer=partial(torch.optim.Adam, lr=3e-2), freeze="joints")
    before = {name: value.clone() for name, value in pipeline.network.state_dict().items()}
    optimizer = module.configure_optimizers()
    terms = pipeline.training_loss(batch, None)
    assert torch.equal(terms["loss"], terms["own_scales"])
    for _ in range(12):
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        terms = pipeline.training_loss(batch, None)
    assert terms["loss"].item() < terms["own_scales"].item() - 0.5
    for name, value in pipeline.network.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("uncertainty"), name


def test_a_release_keeps_it_and_an_older_release_has_none(tmp_path: Path) -> None:
    pipeline = pipeline_with_uncertainty()
    torch.nn.init.normal_(pipeline.network.uncertainty.last.weight, std=0.1)  # type: ignore[union-attr]
    config = METHOD.describe(pipeline)
    again = METHOD.restore(config, tmp_path)
    again.network.load_state_dict(pipeline.network.state_dict())
    joints3d, conf = walker(12), torch.ones(1, 12, 22)
    told = [lifted_sizes(p.eval(), joints3d, conf) for p in (pipeline, again)]
    assert all(torch.allclose(told[0][name], told[1][name]) for name in told[0])
    del config["network"]["uncertainty"]
    assert METHOD.restore(config, tmp_path).network.uncertainty is None


def test_its_training_starts_with_a_lifter_that_has_none(tmp_path: Path) -> None:
    lifter = tiny_pipeline()
    state = {f"pipeline.network.{name}": value for name, value in lifter.network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "lifter.ckpt")
    pipeline = pipeline_with_uncertainty()
    with pytest.raises(ValueError, match="missing uncertainty"):
        METHOD.weights.load(pipeline, tmp_path / "lifter.ckpt")
    METHOD.weights.load(pipeline, tmp_path / "lifter.ckpt", is_start=True)
    assert torch.equal(pipeline.network.embed.linear.weight, lifter.network.embed.linear.weight)


def test_means_over_the_window_leave_out_invalid_frames() -> None:
    pipeline, rig, joints3d = tiny_pipeline(), camera(), walker(30)
    valid = torch.arange(30)[None] < 20
    seen = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None]), pixels_of(joints3d, rig), torch.ones(1, 30, 22)
    tracks = [ray_track(*v, pipeline.rest, fps=20.0, valid=valid) for v in (seen, mirrored_view(*seen))]
    one, other = (pipeline.predict(track, valid) for track in tracks)
    known = evidence(tracks[0], one, mirrored_back(other), valid, fps=20.0)
    own, mean = known[0, :, 4, 7], known[0, :, 4, 25]  # whether the knee is seen, and its mean over the window
    assert torch.equal(own, valid[0].float()) and torch.equal(mean, torch.ones(30))


def test_errors_are_measured_along_the_ray_and_across_it() -> None:
    rig, joints3d = camera(), walker(10)
    batched = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
    track = ray_track(batched, pixels_of(joints3d, rig), torch.ones(1, 10, 22), torch.zeros(4), fps=20.0)
    rays = joints3d - torch.tensor([0.0, 1.6, 0.0])
    rays = rays / rays.norm(dim=-1, keepdim=True)
    side = torch.linalg.cross(rays, torch.tensor([0.0, 1.0, 0.0]).expand_as(rays))
    side = side / side.norm(dim=-1, keepdim=True)
    plane, along = track.frame.from_world(joints3d + 0.3 * rays + 0.4 * side)
    pipeline = tiny_pipeline()
    predicted = pipeline.predict(track, torch.ones(1, 10, dtype=torch.bool))
    moved = type(predicted)(plane, along, predicted.log_along, predicted.log_across, predicted.contact)
    found = error_sizes(moved, track, joints3d)
    assert torch.allclose(found, torch.tensor([0.3, 0.4, 0.5]).expand_as(found), atol=1e-3)


def test_the_likelihood_is_best_at_the_true_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    steps = torch.empty(2, 2000, 3).exponential_(generator=generator)
    sizes = 0.05 * torch.cat([steps[0, :, :1], steps.sum(0)[:, 1:]], -1)  # r exp(-r / b) is that of the sum of two
    scores = [float(size_scores(torch.full((2000, 3), b).log(), sizes).mean()) for b in (0.035, 0.05, 0.07)]
    assert scores[1] < scores[0] and scores[1] < scores[2]
