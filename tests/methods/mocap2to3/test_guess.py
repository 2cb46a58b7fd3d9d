"""Motion that another method has lifted, as the first guess."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.geometry.rigs import Rig, project
from hmr4d.methods.guided import GuidedPipeline
from hmr4d.methods.lifting_baselines.pipeline import GroundRayPipeline
from hmr4d.methods.mocap2to3.foot_contact_conditioning import count_contact_features
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.motion.motion import MotionBatch
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.world_joints import WorldJointsCodec
from tests.methods.mocap2to3.tiny import people, ring, tiny_denoiser, tiny_pipeline
from tests.methods.ray_lifting import walkers

FRAMES = 12


def guess_of(joints3d: Tensor, sigma: float, fps: float = 20.0, **extras: Tensor) -> MotionBatch:
    """A guess that is as sure of every joint."""
    lengths = torch.full((len(joints3d),), joints3d.shape[1])
    told = {"sigma": torch.full(joints3d.shape[:3], sigma), **extras}
    return MotionBatch(joints3d=joints3d, lengths=lengths, fps=fps, extras=told)


def lifted(joints3d: Tensor, guess: MotionBatch | None, fps: float = 20.0, **options: Any) -> MotionBatch:
    """By a network that knows nothing, of exact pixels."""
    rig = ring()
    kp2d = project(rig, joints3d)[0][:, 0]
    return tiny_pipeline(num_inference_steps=3).lift(
        kp2d, torch.ones(kp2d.shape[:3]), rig, fps=fps, guess=guess, **options
    )


def error(batch: MotionBatch, joints3d: Tensor) -> float:
    assert batch.joints3d is not None
    return float((batch.joints3d - joints3d).norm(dim=-1).mean())


def test_a_certain_guess_is_kept_and_an_uncertain_one_has_little_weight() -> None:
    joints3d = people(2, FRAMES)
    errors = [error(lifted(joints3d, guess_of(joints3d, sigma)), joints3d) for sigma in (1e-3, 0.3, 10.0)]
    assert errors[0] < 1e-3
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("fps", [20.0, 30.0])
def test_a_guess_has_the_rate_of_the_tracks(fps: float) -> None:
    joints3d = people(1, 30)
    assert error(lifted(joints3d, guess_of(joints3d, 1e-3, fps), fps), joints3d) < 5e-3


def test_samples_start_from_different_guesses() -> None:
    joints3d = people(1, FRAMES)
    moved = torch.stack([joints3d + 0.1, joints3d - 0.1], 1)
    out = lifted(joints3d, guess_of(joints3d, 1e-3, samples=moved), num_samples=2)
    assert error(out, joints3d) < 1e-3
    assert (out.extras["samples"] - moved).norm(dim=-1).max() < 5e-3
    assert out.extras["spread"].mean() == pytest.approx(0.1 * 3**0.5, abs=2e-3)
    assert torch.equal(out.extras["sigma"], torch.full((1, FRAMES, 22), 1e-3))


def test_the_guess_replaces_the_flat_figure_in_the_conditioning() -> None:
    codec = BboxPose2DCodec(SMPL22)
    count = count_contact_features(codec, None)
    pipeline = tiny_pipeline(tiny_denoiser(num_contact_features=count))
    joints3d, single = people(1, FRAMES), ring()
    rig = Rig(single.size[None], single.K4[None], single.T_w2c[None])
    pixels = project(rig, joints3d)[0]
    seen = torch.ones(1, FRAMES, 22, dtype=torch.bool)
    told = pipeline.contact_features(rig, pixels[:, 0], seen, joints3d)
    flat = pipeline.contact_features(rig, pixels[:, 0], seen)
    assert told is not None and flat is not None
    views = codec.encode(pixels, rig.size)
    assert torch.allclose(told[..., -codec.num_features :], views, atol=1e-4)
    assert not torch.allclose(flat[:, 1:, :, -codec.num_features :], views[:, 1:], atol=1e-2)
    assert torch.equal(told[..., : -codec.num_features], flat[..., : -codec.num_features])


@pytest.mark.parametrize(("count", "visited"), [(1, [2]), (10, [2, 1, 0])])
def test_drawing_starts_at_the_noise_of_the_guess(count: int, visited: list[int]) -> None:
    """guess_noise is 0.25 of the last of ten steps."""
    assert steps_with_guess(tiny_pipeline(num_inference_steps=count)) == visited


@pytest.mark.parametrize("count", [1, 4])
def test_a_regression_of_3d_motion_starts_from_noise_with_a_guess_too(count: int) -> None:
    world = WorldJointsCodec(SMPL22)
    network = tiny_denoiser(num_features=world.num_features, use_views=False)
    pipeline = tiny_pipeline(network, world_codec=world, num_inference_steps=count)
    assert steps_with_guess(pipeline) == [t for t, _ in pipeline.schedule.steps(count)]


def steps_with_guess(pipeline: Mocap2to3Pipeline) -> list[int]:
    """The noise steps that the network is asked for."""
    visited: list[int] = []
    handle = pipeline.denoiser.register_forward_pre_hook(lambda _, args: visited.append(int(args[1])))
    joints3d, rig = people(1, FRAMES), ring()
    kp2d = project(rig, joints3d)[0][:, 0]
    pipeline.lift(kp2d, torch.ones(1, FRAMES, 22), rig, fps=20.0, guess=guess_of(joints3d, 0.1))
    handle.remove()
    return visited


def test_guesses_of_other_tracks_are_named() -> None:
    joints3d = people(1, FRAMES)
    good = guess_of(joints3d, 0.1)
    wrong = {
        "lengths of": guess_of(joints3d[:, :-1], 0.1),
        "20 frames per second instead of 30": guess_of(joints3d, 0.1, fps=30.0),
        '"sigma" among its extras': MotionBatch(joints3d=joints3d, lengths=good.lengths, fps=20.0),
    }
    for told, guess in wrong.items():
        with pytest.raises(ValueError, match=f"does not match the tracks; expected .*{told}"):
            lifted(joints3d, guess)


def test_guided_lifting_returns_the_motion_of_one_pipeline_and_the_uncertainty_of_the_other() -> None:
    joints3d, rig = people(1, FRAMES), ring()
    kp2d = project(rig, joints3d)[0][:, 0]
    guesser = walkers.tiny_pipeline()
    pipeline = GuidedPipeline(tiny_pipeline(num_inference_steps=2), guesser)
    track = kp2d, torch.ones(1, FRAMES, 22)
    out = pipeline.lift(*track, rig, fps=20.0, num_samples=2, seed=3)
    alone = guesser.lift(*track, rig, fps=20.0, num_samples=2, seed=3)
    assert torch.equal(out.extras["sigma"], alone.extras["sigma"])
    assert out.extras["samples"].shape == (1, 2, FRAMES, 22, 3) and out.rig is not None and out.rig.num_views == 4
    assert pipeline.uses_depth and pipeline.uses_virtual_views and pipeline.about["guess"] == "ray_lifting"
    assert out.provenance.more["guess"] == "ray_lifting"


def test_a_generator_replaces_the_seed_of_both_pipelines() -> None:
    joints3d, rig = people(1, FRAMES), ring()
    kp2d = project(rig, joints3d)[0][:, 0]
    pipeline = GuidedPipeline(tiny_pipeline(num_inference_steps=2), walkers.tiny_pipeline())
    seed = int(torch.randint(0, 2**62, (1,), generator=torch.Generator().manual_seed(5)))
    track = kp2d, torch.ones(1, FRAMES, 22), rig
    by_seed = pipeline.lift(*track, fps=20.0, num_samples=2, seed=seed)
    drawn = pipeline.lift(*track, fps=20.0, num_samples=2, generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn.extras["samples"], by_seed.extras["samples"])
    other = pipeline.lift(*track, fps=20.0, num_samples=2, generator=torch.Generator().manual_seed(6))
    assert not torch.equal(other.extras["samples"], by_seed.extras["samples"])


def test_mismatched_pipelines_are_refused() -> None:
    with pytest.raises(ValueError, match="does not take an initial guess of mocap2to3"):
        GuidedPipeline(tiny_pipeline(), tiny_pipeline())
    with pytest.raises(ValueError, match="ray_lifting does not take an initial guess"):
        GuidedPipeline(walkers.tiny_pipeline(), GroundRayPipeline(SMPL22))
    with pytest.raises(ValueError, match="has 'coco17' joints, but mocap2to3 lifts 'smpl22'"):
        GuidedPipeline(tiny_pipeline(), GroundRayPipeline(COCO17))
