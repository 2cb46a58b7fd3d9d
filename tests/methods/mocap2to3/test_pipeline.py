"""Lifting with networks that know the truth, know nothing, or are as fresh as they come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.diffusion.noise import IndependentNoise
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.mocap2to3.drawn_views import observe, triangulate
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions, LiftTrainingOptions
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.methods.mocap2to3.requests import track_at_rate
from hmr4d.methods.mocap2to3.values import LiftDraws, Track
from hmr4d.methods.mocap2to3.window_sampling import WindowSampler
from hmr4d.motion.tracks import smooth_in_time
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.representation.world_joints import WorldJointsCodec
from tests.methods.mocap2to3.tiny import (
    GRID,
    KnowsTheTruth,
    people,
    ring,
    tiny_batch,
    tiny_denoiser,
    tiny_pipeline,
)

CODEC = BboxPose2DCodec(SMPL22)


def seen(joints3d: Tensor, rig: Rig) -> Tensor:
    """(B, V, L, J, 2) exact pixels."""
    return project(rig, joints3d)[0]


def truthful(joints3d: Tensor, rig: Rig, **settings: Any) -> Mocap2to3Pipeline:
    return tiny_pipeline(KnowsTheTruth(CODEC.encode(seen(joints3d, rig), rig.size)), **settings)


def largest_error(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm(dim=-1).max())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"step": "ddim", "num_inference_steps": 3},
        {"consistency": 0.0},
        {"num_inference_steps": 1},
        {"free_share": 0.5},
        {"keep_observed": False},
    ],
)
def test_a_perfect_denoiser_returns_the_true_motion(settings: dict[str, Any]) -> None:
    joints3d, rig = people(2, 20), ring()
    pipeline = truthful(joints3d, rig, **settings)
    out = pipeline.lift(seen(joints3d, rig)[:, 0], torch.ones(2, 20, 22), rig)
    assert largest_error(out.joints3d, joints3d) < 1e-3
    assert float(out.extras["residual"].max()) < 1e-3 and float(out.extras["spread"].max()) == 0.0
    assert (out.joints2d - seen(joints3d, rig)).abs().max() < 0.3
    network = pipeline.denoiser
    assert isinstance(network, KnowsTheTruth)
    assert network.calls == settings.get("num_inference_steps", 10)


def test_maps_are_encoded_once_for_all_steps_tracks_and_windows() -> None:
    joints3d, rig = people(1, 60), ring()
    pipeline = truthful(joints3d, rig)
    request: dict[str, Any] = {"window": 24, "overlap": 8, "num_samples": 2, "num_inference_steps": 3}
    pipeline.lift(seen(joints3d, rig)[:, 0], torch.ones(1, 60, 22), rig, **request)
    network = pipeline.denoiser
    assert isinstance(network, KnowsTheTruth)
    assert network.calls > 6 and network.maps == 1


def test_missing_joints_come_from_the_generated_views() -> None:
    joints3d, rig = people(1, 20), ring()
    kp2d, conf = seen(joints3d, rig)[:, 0].clone(), torch.ones(1, 20, 22)
    conf[0, 5:9, [4, 7, 10]], conf[0, 12] = 0.0, 0.1
    kp2d[conf < 0.3] = torch.nan
    out = truthful(joints3d, rig).lift(kp2d, conf, rig)
    assert largest_error(out.joints3d, joints3d) < 1e-3


def test_the_observation_overrides_the_generated_view() -> None:
    """A network that draws view 0 ten pixels off does not move the result, unless view 0 may drift."""
    joints3d, rig = people(1, 20), ring()
    pixels = seen(joints3d, rig)
    off = pixels.clone()
    off[:, 0] += 10.0
    pipeline = tiny_pipeline(KnowsTheTruth(CODEC.encode(off, rig.size)))
    request = pixels[:, 0], torch.ones(1, 20, 22), rig
    assert largest_error(pipeline.lift(*request).joints3d, joints3d) < 1e-3
    options = replace(pipeline.sampling, keep_observed=False)
    x_0 = CODEC.encode(off, rig.size)
    track = Track(pixels[:, 0], torch.ones(1, 20, 22), torch.tensor([20]))
    batched = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
    kept = observe(x_0, CODEC, batched, track, pipeline.sampling)
    assert torch.allclose(CODEC.decode(kept, rig.size)[:, 0], pixels[:, 0], atol=1e-2)
    assert torch.equal(kept[:, 1:], x_0[:, 1:])
    assert torch.equal(observe(x_0, CODEC, batched, track, options), x_0)


def test_a_view_that_is_wrong_is_outvoted() -> None:
    joints3d, rig = people(1, 20), ring(5)
    wrong = seen(joints3d, rig)
    wrong[:, 3, :, 20] += 150.0
    pipeline = tiny_pipeline(KnowsTheTruth(CODEC.encode(wrong, rig.size)))
    out = pipeline.lift(seen(joints3d, rig)[:, 0], torch.ones(1, 20, 22), rig, num_inference_steps=1)
    assert largest_error(out.joints3d, joints3d) < 0.02


def drawn(pipeline: Mocap2to3Pipeline, joints3d: Tensor, rig: Rig, **request: Any) -> Any:
    return pipeline.lift(seen(joints3d, rig)[:, 0], torch.ones(joints3d.shape[:3]), rig, **request)


def test_a_sample_depends_on_its_track_and_seed_alone() -> None:
    joints3d, rig = people(1, 24).expand(3, -1, -1, -1), ring()
    torch.manual_seed(0)
    network = KnowsTheTruth(CODEC.encode(seen(joints3d[:1], rig), rig.size), doubt=0.05)
    pipeline = tiny_pipeline(network, num_inference_steps=3)
    lengths = torch.tensor([24, 18, 7])
    together = drawn(pipeline, joints3d, rig, seed=[5, 6, 7], lengths=lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = drawn(pipeline, joints3d[i : i + 1, :length], rig, seed=5 + i)
        assert largest_error(together.joints3d[i, :length], alone.joints3d[0]) < 1e-3
        assert not together.joints3d[i, length:].any()
    in_parts = drawn(pipeline, joints3d, rig, seed=[5, 6, 7], lengths=lengths, max_tokens=1)
    assert largest_error(in_parts.joints3d, together.joints3d) < 1e-3
    again = drawn(pipeline, joints3d, rig, seed=[5, 6, 7], lengths=lengths)
    assert torch.equal(again.joints3d, together.joints3d)
    other = drawn(pipeline, joints3d, rig, seed=[5, 6, 8], lengths=lengths)
    assert largest_error(other.joints3d[:2], together.joints3d[:2]) < 1e-3
    assert largest_error(other.joints3d[2], together.joints3d[2]) > 1e-3
    own_rigs = Rig(*(x.expand(3, *x.shape).clone() for x in (rig.size, rig.K4, rig.T_w2c)))
    assert (
        largest_error(drawn(pipeline, joints3d, own_rigs, seed=[5, 6, 7], lengths=lengths).joints3d, together.joints3d)
        < 1e-3
    )


def test_several_samples_give_mean_and_spread() -> None:
    joints3d, rig, pipeline = people(2, 16), ring(), tiny_pipeline()
    out = drawn(pipeline, joints3d, rig, seed=[3, 9], num_samples=3)
    for k in range(3):
        one = drawn(pipeline, joints3d, rig, seed=[3 + k, 9 + k])
        assert largest_error(out.extras["samples"][:, k], one.joints3d) < 1e-3
    assert largest_error(out.joints3d, out.extras["samples"].mean(1)) < 1e-5
    distance = (out.extras["samples"] - out.joints3d[:, None]).norm(dim=-1)
    assert torch.allclose(out.extras["spread"], distance.square().mean(1).sqrt(), atol=1e-6)
    assert float(out.extras["spread"].min()) > 0


class Biased(KnowsTheTruth):
    """Knows a window of the truth, seen from a world that is shifted to the side by 10 cm more in every window."""

    def forward(self, x_t: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.calls += 1
        start = [0, 36, 72][(self.calls - 1) // 10]
        return self.truth[(self.calls - 1) // 10][None, :, start : start + x_t.shape[2]]


def test_smoothing_along_and_across_the_rays_of_view_0() -> None:
    """Noise in depth goes, the picture stays; batched with a longer track as alone; ends do not lag."""
    joints3d, rig = people(2, 30), ring()
    shaken = joints3d + 0.05 * torch.randn(2, 30, 1, 3, generator=torch.Generator().manual_seed(1))
    kp2d, conf, lengths = seen(shaken, rig)[:, 0], torch.ones(2, 30, 22), torch.tensor([21, 30])

    def lifted(*, rows: slice = slice(2), **smooth: float) -> Tensor:
        pipeline = truthful(shaken[rows], rig, **smooth)
        request = {"rig": rig, "lengths": lengths[rows]}
        return pipeline.lift(kp2d[rows, : lengths[rows].max()], conf[rows, : lengths[rows].max()], **request).joints3d

    along = {"smooth_depth": 0.1, "smooth_limb_depth": 0.1}
    rough, deep, both = lifted(), lifted(**along), lifted(**along, smooth_image=0.1)
    pixels = [seen(motion, rig)[:, 0] for motion in (rough, deep)]
    assert largest_error(pixels[0][1], pixels[1][1]) < 0.05
    errors = [float((motion - joints3d)[1].norm(dim=-1).mean()) for motion in (rough, deep, both)]
    assert errors[0] > 1.1 * errors[1] and errors[1] > 1.3 * errors[2]
    alone = lifted(rows=slice(1), **along, smooth_image=0.1)
    torch.testing.assert_close(alone[0], both[0, :21], atol=1e-4, rtol=0)
    line = torch.arange(12.0)[None, :, None] * torch.tensor([1.0, -2.0])
    torch.testing.assert_close(smooth_in_time(line, torch.tensor([12]), 2.0), line)


def test_observed_keypoints_are_smoothed_over_gaps_and_unsure_ones_do_not_count() -> None:
    """At the network's rate: noise shrinks, gaps and padding stay missing, and do not pull at their neighbors."""
    joints3d, rig = people(2, 40), ring()
    true, lengths = seen(joints3d, rig)[:, 0], torch.tensor([26, 40])
    kp2d = true + 4 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    conf = torch.ones(2, 40, 22)
    conf[:, 10:13, 7], conf[0, 26:] = 0.1, 0.0
    kp2d[:, 10:13, 7], kp2d[0, 26:] = 5000.0, -5000.0
    off = []
    for sigma in (0.0, 0.05):
        track = track_at_rate(kp2d, conf, lengths, 20.0, 20.0, LiftSamplingOptions(smooth_observed=sigma))
        there = track.conf > 0
        assert not there[:, 10:13, 7].any() and not there[0, 26:].any() and there.sum() == (26 + 40) * 22 - 6
        off.append(float((track.pixels - true).norm(dim=-1)[there].mean()))
    assert off[1] < 0.7 * off[0]
    between = track_at_rate(kp2d, conf, lengths, 60.0, 20.0, LiftSamplingOptions())
    assert between.pixels[:, :, 7][between.conf[:, :, 7] > 0].max() < 2000  # not mixed with sure ones


def test_windows_join_without_a_jump() -> None:
    joints3d, rig = people(1, 120, content="bow"), ring()
    shift = torch.arange(3)[:, None, None, None] * torch.tensor([0.1, 0.0, 0.0])
    pipeline = tiny_pipeline(
        Biased(CODEC.encode(seen(joints3d + shift, rig), rig.size)), keep_observed=False, observed_weight=1e-6
    )
    out = drawn(pipeline, joints3d, rig, window=48, overlap=12)
    drift = (out.joints3d - joints3d)[0, ..., 0].mean(-1)
    assert drift[:36].abs().max() < 1e-3 and (drift[48:72] - 0.1).abs().max() < 1e-3
    assert (drift[36:48].diff() > 0).all()
    steps = out.joints3d[0].diff(dim=0).norm(dim=-1).mean(-1)
    true_steps = joints3d[0].diff(dim=0).norm(dim=-1).mean(-1)
    assert float((steps - true_steps).max()) < 0.1 / 12 + 1e-3  # the shift is spread over the frames in common
    walk = people(1, 120)
    exact = drawn(truthful(walk, rig), walk, rig, window=200)
    moved = exact.joints3d[0].diff(dim=0).norm(dim=-1).mean(-1)
    assert float(moved.max()) < 2 * float(moved.median())


def test_rigs_may_be_float64() -> None:
    joints3d, rig = people(1, 30), ring()
    kp2d, conf = seen(joints3d, rig)[:, 0], torch.ones(1, 30, 22)
    double = Rig(rig.size.double(), rig.K4.double(), rig.T_w2c.double())
    out = truthful(joints3d, rig).lift(kp2d, conf, double)
    assert largest_error(out.joints3d, joints3d) < 1e-3


def test_other_rates_and_short_tracks() -> None:
    rig, fast = ring(), people(1, 61)
    slow = fast[:, ::3]
    pipeline = truthful(slow, rig, fps=20.0)
    out = drawn(pipeline, fast, rig, fps=60.0)
    assert out.fps == 60.0 and out.joints3d.shape == fast.shape
    assert largest_error(out.joints3d[:, ::3], slow) < 1e-3
    assert largest_error(out.joints3d, fast) < 0.04  # linear in between
    for frames in (1, 2, 9):
        short = people(1, frames)
        place = (torch.arange(16) % max(2 * frames - 2, 1)).clamp(max=15)
        place = torch.minimum(place, (2 * frames - 2 - place).clamp(min=0))
        out = drawn(truthful(short[:, place], rig), short, rig)
        assert out.joints3d.shape == short.shape
        assert largest_error(out.joints3d, short) < 1e-3


# --- other ways of doing it -------------------------------------------------------------------------------------------


def test_plain_points_instead_of_tokens() -> None:
    codec, joints3d, rig = ImagePose2DCodec(SMPL22), people(1, 20), ring()
    pixels = seen(joints3d, rig)
    assert torch.allclose(codec.decode(codec.encode(pixels, rig.size), rig.size), pixels, atol=1e-3)
    denoiser = tiny_denoiser(num_features=44, num_condition_features=66)
    pipeline = tiny_pipeline(denoiser, codec=codec)
    assert drawn(pipeline, joints3d, rig).joints3d.isfinite().all()
    batched = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
    track = Track(pixels[:, 0], torch.ones(1, 20, 22), torch.tensor([20]))
    lifted = triangulate(codec.encode(pixels, rig.size), codec, batched, track, pipeline.sampling, None)
    assert largest_error(lifted.joints3d, joints3d) < 1e-3


def test_direct_lifting() -> None:
    world, joints3d, rig = WorldJointsCodec(SMPL22), people(2, 20), ring()
    assert torch.allclose(world.decode(world.encode(joints3d)), joints3d, atol=1e-5)
    pipeline = tiny_pipeline(tiny_denoiser(num_features=69, use_views=False), world_codec=world)
    batch = tiny_batch((20, 20))
    terms = pipeline.training_loss(batch, pipeline.draw_training(batch, torch.Generator()))
    assert set(terms) == {"loss", "local_loss", "token_loss"}
    pipeline.denoiser.motion_head.weight.data.zero_()
    pipeline.denoiser.motion_head.bias.data = world.encode(joints3d[0, 0])
    out = drawn(pipeline, joints3d, rig, window=16, overlap=4)
    assert largest_error(out.joints3d, joints3d[:1, :1].expand_as(out.joints3d)) < 1e-4


@pytest.mark.parametrize(("preset", "width"), [("paper", 7), ("full", 11)])
@pytest.mark.parametrize("maps", [True, False])
def test_presets_of_cameras_with_and_without_maps(preset: str, width: int, maps: bool) -> None:
    pipeline = tiny_pipeline(tiny_denoiser(cam_dim=width, use_pointmaps=maps), cameras=preset)
    rig = ring()
    assert drawn(pipeline, people(1, 16), rig).joints3d.isfinite().all()
    inputs = pipeline.camera_inputs(Rig(rig.size[None], rig.K4[None], rig.T_w2c[None]))
    assert inputs.cam.shape == (1, 4, width) and inputs.memory.shape[2] == ((GRID // 4) ** 2 if maps else 1)


def test_one_view_is_sampled_too() -> None:
    """The first stage has no observation to hold on to; its samples are images of nobody in particular."""
    pipeline = tiny_pipeline(tiny_denoiser(use_views=False, num_condition_features=0))
    joints3d, rig = people(1, 20), ring()
    batched = Rig(rig.size[None], rig.K4[None], rig.T_w2c[None])
    track = Track(seen(joints3d, rig)[:, 0], torch.ones(1, 20, 22), torch.tensor([20]))
    noise = IndependentNoise([torch.Generator()], torch.tensor([20]), num_views=4, num_features=48)
    found = WindowSampler(pipeline, pipeline.camera_inputs(batched), track, pipeline.sampling).run(noise)
    assert found.joints3d.shape == (1, 20, 22, 3) and found.joints3d.isfinite().all()


# --- training ---------------------------------------------------------------------------------------------------------


def test_loss_terms() -> None:
    batch = tiny_batch()
    x_0 = batch["features"]
    settings = LiftTrainingOptions(metres_weight=1.0)
    pipeline = tiny_pipeline(KnowsTheTruth(x_0), training=settings)
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    names = {"loss", "local_loss", "token_loss", "points_loss", "velocity_loss", "metres_loss"}
    terms = pipeline.training_loss(batch, draws)
    assert set(terms) == names and all(not v.any() for v in terms.values())
    off = x_0.clone()
    off[0, 1, 3, 2] += 1.0  # one local number of one view and frame
    off[1, :, 6:] += 9.0  # padding
    off[..., -4] += 0.02  # the root, one percent of the image width to the right
    terms = tiny_pipeline(KnowsTheTruth(off), training=settings).training_loss(batch, draws)
    frames = 9 + 6
    assert float(terms["local_loss"]) == pytest.approx(1 / (4 * frames * 44), rel=1e-3)
    assert float(terms["token_loss"]) == pytest.approx(0.02**2 / 4, rel=1e-3)
    assert float(terms["points_loss"]) == pytest.approx(0.01, rel=0.05)
    depth = project(ring(), batch["joints3d"])[1]
    meters = (12.8 / 1100 * depth * batch["valid"][:, None, :, None]).sum() / (frames * 4 * 22) / 2
    assert float(terms["metres_loss"]) == pytest.approx(float(meters), rel=0.05)
    weights = {"local": 1.0, "token": 2.0, "points": 0.1, "velocity": 0.05, "metres": 1.0}
    assert float(terms["loss"]) == pytest.approx(sum(w * float(terms[f"{n}_loss"]) for n, w in weights.items()))


def test_unknown_points_have_no_loss() -> None:
    batch = tiny_batch()
    known = batch["valid"][:, None, :, None].repeat(1, 4, 1, 22)
    known[0, 1, 3, 1] = False  # one joint
    known[0, 2, 5] = False  # one frame of one view
    off = batch["features"].clone()
    off[0, 1, 3, 2:4] += 1.0
    off[0, 2, 5] += 1.0
    pipeline = tiny_pipeline(KnowsTheTruth(off), training=LiftTrainingOptions())
    draws = pipeline.draw_training(batch, torch.Generator())
    assert all(v > 0 for v in pipeline.training_loss(batch, draws).values())
    assert not any(pipeline.training_loss(batch | {"known2d": known}, draws).values())
    off[0, 1, 3, 0] += 1.0  # of a joint that is known
    terms = pipeline.training_loss(batch | {"known2d": known}, draws)
    assert float(terms["local_loss"]) == pytest.approx(1 / (2 * int(known.sum())), rel=1e-3)
    assert terms["token_loss"] == 0


def test_items_without_a_camera_train_as_if_it_had_been_dropped() -> None:
    batch, pipeline = tiny_batch(), tiny_pipeline()
    draws = pipeline.draw_training(batch, torch.Generator())
    dropped = replace(draws, keep_camera=torch.tensor([True, False]))
    expected = pipeline.training_loss(batch, dropped)["loss"]
    assert pipeline.training_loss(batch, replace(draws, keep_camera=torch.tensor([True, True])))["loss"] != expected
    unknown = batch | {"camera_known": torch.tensor([True, False])}
    got = pipeline.training_loss(unknown, replace(draws, keep_camera=torch.tensor([True, True])))["loss"]
    assert got == expected


def test_items_with_2d_only_have_no_metric_error() -> None:
    batch = tiny_batch((8, 8))
    pipeline = tiny_pipeline(training=LiftTrainingOptions(metres_weight=1.0))
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    both = pipeline.training_loss(batch, draws)["metres_loss"]
    batch["joints3d"] = batch["joints3d"] * torch.tensor([1.0, 0.0])[:, None, None, None]
    first = pipeline.training_loss(batch, draws)["metres_loss"]
    assert not torch.equal(first, both)
    batch["features"] = batch["features"] + torch.tensor([0.0, 5.0])[:, None, None, None]
    assert torch.allclose(pipeline.training_loss(batch, draws)["metres_loss"], first, atol=1e-6)


def test_monitoring_measures_a_known_error() -> None:
    batch = tiny_batch((20, 14))
    x_0 = batch["features"].clone()
    exact = tiny_pipeline(KnowsTheTruth(x_0), training=LiftTrainingOptions())
    values = exact.monitor(batch, torch.Generator())
    assert values["abs_mpjpe"] < 1e-3 and values["local"] == 0 and values["offset"] == 0
    moved = batch["joints3d"] + torch.tensor([0.0, 0.1, 0.0])
    off = CODEC.encode(project(ring(), moved)[0], ring().size)
    values = tiny_pipeline(KnowsTheTruth(off), observed_weight=1e-6).monitor(batch, torch.Generator())
    assert 0.05 < float(values["abs_mpjpe"]) < 0.15
    assert 0.5 < float(values["offset"]) < 3


def test_regression_trains_the_last_step_alone() -> None:
    batch = tiny_batch()
    pipeline = tiny_pipeline(training=LiftTrainingOptions(noise_share=1.0, drop_camera=0.5))
    draws = pipeline.draw_training(batch, torch.Generator().manual_seed(0))
    assert draws.t.tolist() == [9, 9]
    kept = [pipeline.draw_training(batch, torch.Generator().manual_seed(i)).keep_camera for i in range(50)]
    assert 0.3 < torch.cat(kept).float().mean() < 0.7


def test_one_batch_can_be_learned() -> None:
    batch = tiny_batch((12, 12))
    torch.manual_seed(0)
    pipeline = tiny_pipeline(tiny_denoiser(dim=32, ff_dim=64))
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=3e-3)
    draws = LiftDraws(torch.randn(2, 4, 12, 48), torch.tensor([4, 7]), torch.ones(2, dtype=torch.bool))
    losses = []
    for _ in range(60):
        loss = pipeline.training_loss(batch, draws)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 20


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kp2d": torch.zeros(1, 5, 22, 3)}, r"expected \(B, L, J, 2\)"),
        ({"kp2d": torch.zeros(1, 5, 17, 2), "conf": torch.ones(1, 5, 17)}, "17 joints.*has 22"),
        ({"lengths": torch.tensor([6])}, "from 1 to 5 frames"),
        ({"num_samples": 0}, "num_samples 0"),
        ({"fps": 0.0}, "fps is 0"),
        ({"rig": ring().select([0])}, "The rig has one camera.*virtual_rig"),
        ({"window": 8}, "at least 16"),
        ({"overlap": 300}, "shorter than the window"),
        ({"seed": [1, 2]}, "2 seeds for 1 tracks"),
    ],
)
def test_wrong_requests_are_named(changes: dict[str, Any], message: str) -> None:
    request: dict[str, Any] = {"kp2d": torch.ones(1, 5, 22, 2), "conf": torch.ones(1, 5, 22), "rig": ring()}
    with pytest.raises(ValueError, match=message):
        tiny_pipeline().lift(**(request | changes))


def test_parts_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="cam_dim=7.*cameras='full'.*'cam_dim': 11"):
        tiny_pipeline(cameras="full")
    with pytest.raises(ValueError, match="num_features=48"):
        tiny_pipeline(codec=ImagePose2DCodec(SMPL22))
    with pytest.raises(ValueError, match="step is 'euler'"):
        LiftSamplingOptions(step="euler")
    with pytest.raises(ValueError, match="consistency is 2"):
        LiftSamplingOptions(consistency=2)
    with pytest.raises(ValueError, match="drop_camera is 3"):
        LiftTrainingOptions(drop_camera=3)
