"""Sampling with tiny networks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.diffusion.schedule import SPACINGS, NoiseSchedule
from hmr4d.methods.motion2to3.finishing import finish_motion
from hmr4d.methods.motion2to3.options import SamplingOptions, TrainingOptions
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.methods.motion2to3.values import views_of
from hmr4d.motion.motion import MotionBatch
from hmr4d.representation.motion2d import Motion2DCodec
from hmr4d.representation.root_velocity import NEUTRAL_HEIGHT, body_height
from hmr4d.representation.views import OrthographicViews
from hmr4d.utils.randomness import ItemRandom
from tests.diffusion.recorded_noise import RecordedNoise
from tests.methods.motion2to3.tiny import tiny_denoiser, tiny_pipeline

PROMPTS = ["a person walks", "someone bows very politely to the left", "a kick"]
SINGLE = {"use_views": False, "cam_dim": 0, "separate_root_head": False}


def apart(a: Tensor, b: Tensor) -> float:
    """Largest distance between joints, meters."""
    return float((a - b).norm(dim=-1).max())


def count_passes(pipeline: Motion2to3Pipeline) -> list[int]:
    """A list that grows by the batch size with every forward pass of the network."""
    passes: list[int] = []
    pipeline.denoiser.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    return passes


# --- one motion depends on its prompt, seconds and seed alone ------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"world_noise": False},
        {"consistency": True},
        {"step": "ddim", "num_inference_steps": 4},
        {"guidance_scale": 2.5},
        {"height": "clip"},
    ],
    ids=str,
)
def test_motion_does_not_depend_on_the_batch(sampling: dict[str, Any]) -> None:
    pipeline = tiny_pipeline(**sampling)
    seconds, seeds = [1.0, 1.5, 1.2], [11, 12, 13]
    together = pipeline.sample(PROMPTS, seconds=seconds, seed=seeds)
    for i, prompt in enumerate(PROMPTS):
        alone = pipeline.sample([prompt], seconds=seconds[i], seed=seeds[i])
        assert apart(alone[0].joints3d, together[i].joints3d) < 1e-4
        assert torch.allclose(alone.joints2d[0], together.joints2d[i, :, : alone.lengths[0]], atol=1e-4)


def test_order_of_prompts_does_not_matter() -> None:
    pipeline, order = tiny_pipeline(), [2, 0, 1]
    first = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3)
    second = pipeline.sample([PROMPTS[i] for i in order], seconds=[[1.0, 1.5, 1.2][i] for i in order], seed=3)
    for row, i in enumerate(order):
        assert second.text[row] == PROMPTS[i]
        assert apart(second[row].joints3d, first[i].joints3d) < 1e-4


def test_memory_bound_changes_nothing_but_the_batches() -> None:
    pipeline = tiny_pipeline()
    passes = count_passes(pipeline)
    whole = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3)
    assert set(passes) == {3}
    passes.clear()
    bounded = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3, max_tokens=30 * 4)
    assert set(passes) == {1}
    assert torch.equal(whole.lengths, bounded.lengths)
    for i in range(3):
        assert apart(whole[i].joints3d, bounded[i].joints3d) < 1e-4


def test_same_seed_same_motion_other_seed_other_motion() -> None:
    pipeline = tiny_pipeline()
    first = pipeline.sample(["a kick"], seconds=1, seed=5)[0].joints3d
    torch.manual_seed(77)
    torch.randn(10)
    assert torch.equal(pipeline.sample(["a kick"], seconds=1, seed=5)[0].joints3d, first)
    assert apart(pipeline.sample(["a kick"], seconds=1, seed=6)[0].joints3d, first) > 1e-3
    assert apart(pipeline.sample(["a walk"], seconds=1, seed=5)[0].joints3d, first) > 1e-4


def test_global_generator_is_not_used() -> None:
    pipeline = tiny_pipeline()
    before = torch.get_rng_state()
    pipeline.sample(["a kick"], seconds=1, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_of_one_prompt_follow_its_seed() -> None:
    pipeline = tiny_pipeline()
    several = pipeline.sample(PROMPTS[:2], seconds=1, seed=4, num_samples=3)
    assert several.text == [PROMPTS[0]] * 3 + [PROMPTS[1]] * 3
    for row in range(6):
        prompt, number = divmod(row, 3)
        alone = pipeline.sample([PROMPTS[prompt]], seconds=1, seed=4 + number)
        assert apart(several[row].joints3d, alone[0].joints3d) < 1e-4
    assert apart(several[0].joints3d, several[1].joints3d) > 1e-3


def test_a_generator_replaces_the_seed() -> None:
    pipeline = tiny_pipeline()

    def run(*seeds: int) -> MotionBatch:
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        return pipeline.sample(
            PROMPTS[: len(seeds)], seconds=1, generator=generators[0] if len(seeds) == 1 else generators
        )

    assert torch.equal(run(1)[0].joints3d, run(1)[0].joints3d)
    assert apart(run(1)[0].joints3d, run(2)[0].joints3d) > 1e-3
    assert apart(run(1, 2)[0].joints3d, run(1)[0].joints3d) < 1e-4


def test_batches_arrive_as_they_are_finished() -> None:
    pipeline = tiny_pipeline()
    whole = pipeline.sample(PROMPTS, seconds=[1.5, 1.0, 1.2], seed=3)
    seen = {}
    for jobs, output in pipeline.sample_batches(PROMPTS, seconds=[1.5, 1.0, 1.2], seed=3, max_tokens=30 * 4):
        assert len(jobs) == len(output) == 1
        seen[jobs[0]] = output[0].joints3d
    assert list(seen) == [(1, 0), (2, 0), (0, 0)], "short motions first"
    for (prompt, _), motion in seen.items():
        assert apart(motion, whole[prompt].joints3d) < 1e-4


# --- what comes out ------------------------------------------------------------------------------------------------


def test_output_is_a_placed_motion() -> None:
    output = tiny_pipeline().sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=3)
    assert output.joints3d.shape == (3, 30, 22, 3)
    assert output.joints2d.shape == (3, 4, 30, 22, 2)
    assert output.lengths.tolist() == [20, 30, 24]
    assert (output.fps, output.text, output.skeleton) == (20.0, PROMPTS, SMPL22)
    for i, n in enumerate(output.lengths.tolist()):
        joints = output[i].joints3d
        assert joints.shape == (n, 22, 3)
        assert torch.isfinite(joints).all()
        assert abs(float(joints[..., 1].min())) < 1e-6
        assert joints[0, 0, [0, 2]].abs().max() < 1e-5
        assert not output.joints3d[i, n:].any()


def test_body_heights_of_the_height_options() -> None:
    def heights(how: str) -> Tensor:
        return body_height(tiny_pipeline(height=how).sample(["a kick"], seconds=1, seed=2)[0].joints3d)

    assert torch.allclose(heights("frame"), torch.full((20,), NEUTRAL_HEIGHT), atol=1e-4)
    clip = heights("clip")
    assert float(clip.mean()) == pytest.approx(NEUTRAL_HEIGHT, abs=1e-4)
    assert float(clip.std()) > 1e-4
    none = heights("none")
    assert torch.allclose(none / none.mean(), clip / clip.mean(), atol=1e-4)


def test_trajectory_can_stay_at_the_origin() -> None:
    moving = tiny_pipeline().sample(["a kick"], seconds=1, seed=2)[0].joints3d
    still = tiny_pipeline(accumulate_root=False).sample(["a kick"], seconds=1, seed=2)[0].joints3d
    assert still[:, 0, [0, 2]].abs().max() < 1e-5
    assert moving[-1, 0, [0, 2]].norm() > 1e-3
    assert torch.allclose(moving - moving[:, :1], still - still[:, :1], atol=1e-4)


def test_finished_motion_faces_z_and_follows_its_steps() -> None:
    """A figure with its left hand along -z turns to face +z; its root goes where the next-root points say."""
    local = torch.zeros(2, 6, 23, 3)
    hips, shoulders = SMPL22.indices("left_hip", "right_hip"), SMPL22.indices("left_shoulder", "right_shoulder")
    for left, right in (hips, shoulders):
        local[:, :, left, 2], local[:, :, right, 2] = -0.2, 0.2
    local[:, :, SMPL22.index("left_foot"), 1] = -0.9
    local[1, 4:, SMPL22.index("left_foot"), 1] = -5.0
    local[:, :, 22, 0] = 0.1  # steps along x, which is where this figure looks
    lengths = torch.tensor([6, 4])
    motion = finish_motion(local, lengths, SamplingOptions(), fps=20.0)
    for b, n in enumerate(lengths.tolist()):
        expected = torch.stack([torch.zeros(n), torch.full((n,), 0.9), 0.1 * torch.arange(n)], -1)
        assert torch.allclose(motion[b, :n, 0], expected, atol=1e-6)
        assert torch.allclose(motion[b, 0, hips[0]] - motion[b, 0, hips[1]], torch.tensor([0.4, 0, 0]), atol=1e-6)
        assert not motion[b, n:].any()


class RecordingSchedule(NoiseSchedule):
    """Keeps the clean motion that every step is given."""

    def __init__(self, num_steps: int) -> None:
        super().__init__(num_steps)
        self.clean: list[Tensor] = []

    def posterior_step(self, x_0: Tensor, x_t: Tensor, t: int, t_prev: int, noise: Tensor) -> Tensor:
        self.clean.append(x_0)
        return super().posterior_step(x_0, x_t, t, t_prev, noise)


@pytest.mark.parametrize("consistency", [True, False])
def test_consistency_gives_every_step_views_of_one_body(consistency: bool) -> None:
    pipeline = tiny_pipeline(consistency=consistency)
    pipeline.schedule = RecordingSchedule(10)
    conditions = pipeline.text_conditions(["a kick"], torch.tensor([12]), [ItemRandom.from_seed(0)])
    noise = torch.randn(11, 1, 4, 12, 44, generator=torch.Generator().manual_seed(0))
    pipeline.sample_views(conditions, RecordedNoise(list(noise)), pipeline.sampling)
    views = OrthographicViews(conditions.T_w2c)
    for x_0 in pipeline.schedule.clean:
        points = pipeline.codec.decode_with_root(x_0)
        assert torch.allclose(views.reproject(views.lift(points)), points, atol=1e-5) == consistency


# --- guidance and steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guidance", "share", "expected"),
    [(1.0, 1.0, 10), (0.0, 1.0, 10), (0.0, 0.3, 10), (2.5, 1.0, 20), (2.5, 0.3, 13), (2.5, 0.0, 10)],
)
def test_guidance_determines_the_number_of_network_passes(guidance: float, share: float, expected: int) -> None:
    pipeline = tiny_pipeline(guidance_scale=guidance, guided_share=share)
    passes = count_passes(pipeline)
    pipeline.sample(PROMPTS, seconds=1, seed=0)
    assert len(passes) == expected


def test_guidance_acts_in_the_noisiest_steps_alone() -> None:
    """A share that contains no step is no guidance; more steps change the motion more."""
    none, few, every = (
        tiny_pipeline(guidance_scale=2.5, guided_share=share).sample(["a kick"], seconds=1, seed=0)[0].joints3d
        for share in (0.0, 0.3, 1.0)
    )
    assert torch.equal(none, tiny_pipeline().sample(["a kick"], seconds=1, seed=0)[0].joints3d)
    assert 0 < apart(few, none) < apart(every, none)


def test_guidance_is_continuous_at_one() -> None:
    pipeline = tiny_pipeline()
    exact, nearly = (pipeline.sample(["a kick"], seconds=1, guidance_scale=s)[0].joints3d for s in (1.0, 1.0 + 1e-6))
    assert apart(exact, nearly) < 1e-3


def test_guidance_zero_ignores_the_prompt() -> None:
    pipeline = tiny_pipeline(guidance_scale=0.0)
    first, second = (pipeline.sample([text], seconds=1, seed=1)[0].joints3d for text in PROMPTS[:2])
    assert torch.equal(first, second)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
@pytest.mark.parametrize("step", ["posterior", "ddim"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_fewer_steps(count: int, step: str, spacing: str) -> None:
    pipeline = tiny_pipeline(step=step, spacing=spacing)
    passes = count_passes(pipeline)
    output = pipeline.sample(["a kick"], seconds=1, num_inference_steps=count)
    assert len(passes) == count
    assert torch.isfinite(output.joints3d).all()


def test_single_view_network_lifts_by_triangulation_alone() -> None:
    pipeline = tiny_pipeline(tiny_denoiser(**SINGLE), consistency=True)
    together = pipeline.sample(PROMPTS, seconds=1, seed=1)
    alone = pipeline.sample(PROMPTS[1:2], seconds=1, seed=1)
    assert apart(together[1].joints3d, alone[0].joints3d) < 1e-4


def test_perspective_sampling() -> None:
    pipeline = tiny_pipeline(is_perspective=True, consistency=True)
    together = pipeline.sample(PROMPTS, seconds=[1.0, 1.5, 1.2], seed=1)
    assert torch.isfinite(together.joints3d).all()
    alone = pipeline.sample(PROMPTS[:1], seconds=1.0, seed=1)
    assert apart(together[0].joints3d, alone[0].joints3d) < 1e-3


# --- wrong requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": [""]}, ValueError, "Prompt 0 is empty"),
        ({"texts": ["a kick", "  \n"]}, ValueError, "Prompt 1 is empty"),
        ({"texts": []}, ValueError, "No prompt was given"),
        ({"texts": ["a kick", 7]}, TypeError, "Prompt 1 is int 7; prompts are strings"),
        ({"texts": [None]}, TypeError, "Prompt 0 is NoneType"),
        ({"seconds": 0.0}, ValueError, "seconds is 0.0; this model makes 1 to 10 seconds"),
        ({"seconds": -3}, ValueError, "seconds is -3"),
        ({"seconds": 11}, ValueError, "seconds is 11"),
        ({"seconds": math.nan}, ValueError, "seconds is nan"),
        ({"seconds": math.inf}, ValueError, "seconds is inf"),
        ({"seconds": [1.0, 2.0]}, ValueError, "seconds has 2 values for 1 prompts"),
        ({"seed": [1, 2]}, ValueError, "2 seeds for 1 prompts"),
        ({"generator": []}, ValueError, "0 generators for 1 prompts"),
        ({"num_samples": 0}, ValueError, "num_samples is 0"),
        ({"num_inference_steps": 11}, ValueError, "num_inference_steps is 11; the schedule has 10 steps"),
        ({"num_inference_steps": 0}, ValueError, "num_inference_steps is 0"),
    ],
    ids=str,
)
def test_wrong_requests_are_explained(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tiny_pipeline().sample(**({"texts": ["a kick"], "seconds": 1.0} | arguments))


def test_one_prompt_needs_no_list() -> None:
    pipeline = tiny_pipeline()
    assert torch.equal(pipeline.sample("a kick", seconds=1).joints3d, pipeline.sample([" a kick "], seconds=1).joints3d)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"step is 'euler'.*'posterior', 'ddim'"):
        SamplingOptions(step="euler")
    with pytest.raises(ValueError, match=r"height is 'tall'"):
        SamplingOptions(height="tall")


def test_weights_of_steps_that_an_average_with_padding_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"max_step_weight is 5 with include_padding"):
        TrainingOptions(include_padding=True, max_step_weight=5.0)


def test_statistics_must_fit_the_network() -> None:
    with pytest.raises(ValueError, match=r"'hml3d_ortho_nr' have 46 features, the network has 44"):
        Motion2to3Pipeline(tiny_denoiser(), Motion2DCodec("hml3d_ortho_nr"), tiny_pipeline().schedule)


def test_prompts_without_an_encoder_are_refused() -> None:
    pipeline = Motion2to3Pipeline(tiny_denoiser(), Motion2DCodec("all_200h_nr"), tiny_pipeline().schedule)
    with pytest.raises(RuntimeError, match="no text encoder"):
        pipeline.sample(["a kick"], seconds=1)


def test_perspective_needs_intrinsics() -> None:
    pipeline = tiny_pipeline()
    conditions = replace(pipeline.text_conditions(["a"], torch.tensor([4]), [ItemRandom.from_seed(0)]), K=None)
    with pytest.raises(ValueError, match=r"needs K \(B, V, 3, 3\)"):
        views_of(conditions, is_perspective=True)


def test_sampling_replays_recorded_noise() -> None:
    """The sampler asks for one array to start and one per step, shaped (B, V, L, D)."""
    pipeline = tiny_pipeline()
    conditions = pipeline.text_conditions(["a kick"], torch.tensor([6]), [ItemRandom.from_seed(0)])
    noise = list(torch.randn(11, 1, 4, 6, 44, generator=torch.Generator().manual_seed(0)))
    first = pipeline.sample_views(conditions, RecordedNoise(noise), pipeline.sampling)
    second = pipeline.sample_views(conditions, RecordedNoise(noise), pipeline.sampling)
    assert torch.equal(first.local, second.local)
    with pytest.raises(IndexError, match="used up"):
        pipeline.sample_views(conditions, RecordedNoise(noise[:-1]), pipeline.sampling)


def test_cleaning_gives_finished_motion_constant_bones_and_is_off_by_default() -> None:
    """Networks without training make figures without sense, and even those get bones that keep their length."""
    lengths = {"seconds": 1.5, "seed": 3}
    plain, cleaned = (
        tiny_pipeline(height="clip", **dict.fromkeys(("smooth", "rigid_bones", "plant_feet"), switch)).sample(
            ["a kick", "a bow"], **lengths
        )
        for switch in (False, True)
    )
    assert torch.equal(plain.joints3d, tiny_pipeline(height="clip").sample(["a kick", "a bow"], **lengths).joints3d)
    assert torch.equal(plain.extras["camera_joints3d"], cleaned.extras["camera_joints3d"])
    parents, children = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
    spread = [
        (out.joints3d[..., children, :] - out.joints3d[..., parents, :]).norm(dim=-1).std(1).max()
        for out in (plain, cleaned)
    ]
    assert spread[1] < 1e-4 < spread[0]
    assert cleaned.joints3d[..., 1].amin((1, 2)).abs().max() < 1e-6
