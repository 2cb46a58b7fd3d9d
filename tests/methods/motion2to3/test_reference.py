"""Starting from a reference motion: its views, its place in the diffusion, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.data.datasets import Framing
from hmr4d.diffusion.schedule import SPACINGS, NoiseSchedule
from hmr4d.methods.motion2to3.reference import ReferenceStart, path_weight, reference_local, with_path
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import face_first_frame
from hmr4d.motion.motion import Motion
from hmr4d.representation.root_velocity import from_root_velocity, to_root_velocity
from hmr4d.representation.views import OrthographicViews
from hmr4d.utils.randomness import ItemRandom
from tests.data.tiny_store import clip
from tests.methods.motion2to3.tiny import tiny_pipeline

FIXED = Framing(box="fixed", half_extent=1.0)


def local_of(motion: Motion, seconds: float | None = None) -> torch.Tensor:
    return reference_local(motion, fps=20.0, seconds=seconds, min_seconds=1.0, max_seconds=9.8, meters_per_unit=1.2)


def thigh_over_shin(joints3d: torch.Tensor) -> float:
    hip, knee, ankle = joints3d[0, 2], joints3d[0, 5], joints3d[0, 8]
    return float((knee - hip).norm() / (ankle - knee).norm())


def test_views_of_a_reference_are_those_of_training() -> None:
    """What the cameras of a draw see of a reference is what the dataset makes of the same motion."""
    motion = Motion(torch.from_numpy(clip(40)), 20.0)
    T_w2c = tiny_pipeline().rig.draw(ItemRandom.from_seed(0))[0]
    body = face_first_frame(to_neutral_height(motion.joints3d[None], torch.tensor([40]))[0])
    wanted, _, _ = FIXED.frame(to_root_velocity(body), T_w2c, 4.5, ItemRandom.from_seed(0))
    seen = OrthographicViews(T_w2c[None]).reproject(local_of(motion))[0, ..., 1:, :]
    assert FIXED.meters_per_unit == pytest.approx(1.2)
    assert torch.allclose(seen, wanted, atol=1e-5)


def test_meters_per_box_unit_exist_for_fixed_orthographic_boxes_only() -> None:
    assert Framing(box="fixed", half_extent=0.5).meters_per_unit == pytest.approx(0.6)
    assert Framing(box="largest").meters_per_unit is None
    assert Framing(box="fixed", is_perspective=True).meters_per_unit is None


def test_lifting_the_views_of_a_reference_recovers_it() -> None:
    motion = Motion(torch.from_numpy(clip(60)), 30.0)
    local = local_of(motion)
    views = OrthographicViews(tiny_pipeline().rig.draw(ItemRandom.from_seed(1))[0][None])
    back = from_root_velocity(views.lift(views.reproject(local)))[0] * 1.2
    assert back.shape == (40, 22, 3)
    bones = (motion.joints3d[0, 5] - motion.joints3d[0, 2]).norm() / (
        motion.joints3d[0, 8] - motion.joints3d[0, 5]
    ).norm()
    assert (back[0, 5] - back[0, 2]).norm() / (back[0, 8] - back[0, 5]).norm() == pytest.approx(float(bones), rel=1e-4)
    assert torch.allclose(back[0, 0, [0, 2]], torch.zeros(2), atol=1e-5)


@pytest.mark.parametrize(("strength", "count"), [(1.0, 10), (0.6, 9), (0.2, 5), (0.01, 1)])
def test_more_strength_runs_more_of_the_steps(strength: float, count: int) -> None:
    steps = [(t, t - 1) for t in reversed(range(10))]
    assert ReferenceStart(torch.zeros(1, 2, 23, 3), strength).steps(steps) == steps[10 - count :]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("count", [1, 5, 20, 100])
@pytest.mark.parametrize(("strength", "noisiest"), [(1.0, 99), (0.6, 93), (0.4, 78), (0.1, 27), (0.001, 0)])
def test_a_strength_means_the_same_noise_however_steps_are_spaced(
    spacing: str, count: int, strength: float, noisiest: int
) -> None:
    whole = NoiseSchedule(100).steps(count, spacing)
    steps = ReferenceStart(torch.zeros(1, 2, 23, 3), strength).steps(whole)
    assert steps[0][0] == noisiest
    assert steps[1:] == [pair for pair in whole if pair[0] < noisiest]
    assert steps[-1][1] == -1 and all(t_prev < t for t, t_prev in steps)
    if spacing != "published":
        assert [t_prev for _, t_prev in steps[:-1]] == [t for t, _ in steps[1:]]


def test_the_path_is_kept_as_long_as_its_mean_over_a_second_is_visible_in_the_noise() -> None:
    levels = NoiseSchedule(100).alphas_cumprod.tolist()
    weights = [path_weight(level, 20.0) for level in levels]
    assert all(more > less for more, less in zip(weights, weights[1:], strict=False))
    assert weights[0] > 0.999 and weights[-1] < 0.001
    assert path_weight(1 / 21, 20.0) == pytest.approx(0.5)


def test_legs_and_path_alone_are_drawn_to_the_reference() -> None:
    mixed = with_path(torch.zeros(2, 3, 44), reference=torch.ones(2, 3, 44), weight=0.25).unflatten(-1, (22, 2))
    legs = [SMPL22.index(f"{s}_{part}") - 1 for s in ("left", "right") for part in ("hip", "knee", "ankle", "foot")]
    expected = torch.zeros(22)
    expected[[*legs, 21]] = 0.25
    assert torch.equal(mixed, expected[:, None].expand(2, 3, 22, 2))


def test_low_strength_keeps_the_path_for_any_network_output() -> None:
    pipeline = tiny_pipeline(num_views=2, step="ddim", height="none")
    pipeline.meters_per_unit = 1.0
    walk = Motion(torch.from_numpy(clip(40)), 20.0)
    made = pipeline.follow(walk, "a person bows", strength=0.1, seed=3).extras["camera_joints3d"][0, :, 0]
    wanted = from_root_velocity(local_of(walk) * 1.2)[0, :, 0]
    length = wanted.diff(dim=0).norm(dim=-1).sum()
    assert length > 0.2 and (made - wanted).norm(dim=-1).max() < 0.05 * length


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.5])
def test_impossible_strengths_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="give a number above 0"):
        ReferenceStart(torch.zeros(1, 2, 23, 3), strength)


def test_a_draw_depends_on_the_reference_and_less_so_with_more_strength() -> None:
    pipeline = tiny_pipeline(num_views=2, step="ddim", height="clip")
    pipeline.meters_per_unit = 1.2
    one, other = (Motion(torch.from_numpy(clip(40, seed)), 20.0) for seed in (0, 1))

    def gap(strength: float) -> float:
        first, second = (
            pipeline.follow(m, "a person bows", strength=strength, seed=3)[0].joints3d for m in (one, other)
        )
        return float((first - second).abs().mean())

    assert gap(0.1) > gap(0.5) > gap(1.0)
    again = pipeline.follow(one, "a person bows", strength=0.5, seed=3)[0].joints3d
    assert torch.equal(again, pipeline.follow(one, "a person bows", strength=0.5, seed=3)[0].joints3d)


def test_longer_references_are_cut_and_other_joints_refused() -> None:
    long = Motion(torch.from_numpy(clip(300)), 20.0)
    assert local_of(long).shape[1] == 196
    assert local_of(long, seconds=4.0).shape[1] == 80
    few = Skeleton(name="few", joint_names=("a", "b"), parents=(-1, 0), chains=())
    with pytest.raises(ValueError, match="expected the 22 of 'smpl22'"):
        local_of(replace(long, joints3d=long.joints3d[:, :2], skeleton=few))


def test_invalid_or_short_references_are_refused() -> None:
    with pytest.raises(ValueError, match="no length and therefore no direction"):
        local_of(Motion(torch.ones(40, 22, 3), 20.0))
    with pytest.raises(ValueError, match=r"lasts 0\.45 s; this model generates 1 to 9\.8 s"):
        local_of(Motion(torch.from_numpy(clip(9)), 20.0))
    assert local_of(Motion(torch.from_numpy(clip(50)), 51.0)).shape[1] == 20, "as good as the shortest"


def test_a_model_without_a_known_box_takes_no_reference() -> None:
    with pytest.raises(ValueError, match="meters per box unit"):
        tiny_pipeline().follow(Motion(torch.from_numpy(clip(40)), 20.0), "bows", strength=0.5)
