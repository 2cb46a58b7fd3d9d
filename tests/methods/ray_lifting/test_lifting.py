"""Ray lifting with a network that knows the truth but for errors that are put on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.ray_lifting.features import mirrored_view, ray_track
from hmr4d.methods.ray_lifting.fit import RayFitOptions
from hmr4d.methods.ray_lifting.motions import standing
from hmr4d.methods.ray_lifting.pipeline import RayLiftingPipeline
from hmr4d.methods.ray_lifting.ray_frame import FEET
from hmr4d.motion.ground_contact import rest_heights, standing_joints
from tests.methods.ray_lifting.walkers import Knows, camera, outputs_of, pixels_of, tiny_pipeline, walker

PARENTS, CHILDREN = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
HEIGHTS = {"ankle": 0.08, "foot": 0.02}


def bones(joints3d: Tensor) -> Tensor:
    return (joints3d[..., CHILDREN, :] - joints3d[..., PARENTS, :]).norm(dim=-1)


def knowing(
    joints3d: Tensor, rig: Rig, error: float, *, stands: Tensor | None = None, **options: object
) -> RayLiftingPipeline:
    """A pipeline whose network is off by `error` meters along the rays, by another amount in every frame and joint."""
    pixels, seen = pixels_of(joints3d, rig), torch.ones(joints3d.shape[:3])
    rest = rest_heights(SMPL22, HEIGHTS)[list(FEET)]
    track = ray_track(Rig(rig.size[None], rig.K4[None], rig.T_w2c[None]), pixels, seen, rest, fps=20.0)
    plane, along = track.frame.from_world(joints3d)
    noise = error * torch.randn(along.shape, generator=torch.Generator().manual_seed(0))
    feet = standing(joints3d, fps=20.0) if stands is None else stands
    network = Knows(track.features, outputs_of(plane - track.plane, along + noise, stands=feet))
    return RayLiftingPipeline(network, foot_heights=HEIGHTS, fps=20.0, **options)  # type: ignore[arg-type]


def test_a_perfect_prediction_returns_the_true_motion() -> None:
    joints3d, rig = walker(), camera()
    pipeline = knowing(joints3d, rig, 0.0, fit=RayFitOptions(steps=0))
    out = pipeline.lift(pixels_of(joints3d, rig), torch.ones(1, 40, 22), rig, fps=20.0)
    assert out.joints3d is not None and (out.joints3d - joints3d).norm(dim=-1).max() < 5e-3


def test_the_fit_keeps_bones_and_takes_errors_out() -> None:
    joints3d, rig = walker(), camera()
    kp2d, conf = pixels_of(joints3d, rig), torch.ones(1, 40, 22)
    raw = knowing(joints3d, rig, 0.05, fit=RayFitOptions(steps=0)).lift(kp2d, conf, rig, fps=20.0).joints3d
    fitted = knowing(joints3d, rig, 0.05).lift(kp2d, conf, rig, fps=20.0).joints3d
    assert raw is not None and fitted is not None
    lengths = bones(fitted)[0]
    assert float((lengths.std(0) / lengths.mean(0)).max()) < 1e-3
    twins = [CHILDREN.index(SMPL22.mirror_order[child]) for child in CHILDREN]
    assert torch.allclose(lengths[0], lengths[0, twins], atol=1e-4)
    before, after = ((x - joints3d).norm(dim=-1).mean() for x in (raw, fitted))
    assert float(after) < 0.7 * float(before)


@pytest.mark.parametrize("frames", [40, 300])
def test_rotations_of_a_body_hold_the_fitted_motion_exactly(frames: int) -> None:
    """Hips and spine, and neck and collars, turn together, in one window and over several."""
    joints3d, rig = walker(frames), camera()
    pipeline = knowing(joints3d, rig, 0.05) if frames == 40 else tiny_pipeline(fit=RayFitOptions(steps=3))
    found = pipeline.lift(pixels_of(joints3d, rig), torch.ones(1, frames, 22), rig, fps=25.0 if frames > 40 else 20.0)
    assert found.joints3d is not None
    rest = clip_rest_joints(found.joints3d[0], load_light_body().rest_joints.float())
    assert float(solve_pose(found.joints3d[0], rest).residual.max()) < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_steps_of_a_walk_stay_steps(seed: int) -> None:
    joints3d, rig = walker(60, seed=seed), camera()
    out = knowing(joints3d, rig, 0.03).lift(pixels_of(joints3d, rig), torch.ones(1, 60, 22), rig, fps=20.0)
    assert out.joints3d is not None
    true, found = (standing_joints(x[0], fps=20.0, skeleton=SMPL22) for x in (joints3d, out.joints3d))
    assert float((true & found).sum() / true.sum()) > 0.8
    assert float(out.joints3d[0][:, list(FEET), 1].min()) > -0.03


def test_a_foot_that_moves_in_the_image_does_not_stand() -> None:
    joints3d, rig = walker(), camera()
    kp2d, conf = pixels_of(joints3d, rig), torch.ones(1, 40, 22)
    told = knowing(joints3d, rig, 0.0, stands=torch.ones(1, 40, 4))  # that both feet stand, in every frame
    found = told.lift(kp2d, conf, rig, fps=20.0).joints3d
    stubborn = knowing(joints3d, rig, 0.0, stands=torch.ones(1, 40, 4), fit=RayFitOptions(passing_speed=1e3))
    dragged = stubborn.lift(kp2d, conf, rig, fps=20.0).joints3d
    assert found is not None and dragged is not None
    errors = [float((x - joints3d)[:, :, list(FEET)].norm(dim=-1).mean()) for x in (found, dragged)]
    assert errors[0] < 0.6 * errors[1]


def test_a_foot_that_is_held_up_is_not_pulled_to_the_floor() -> None:
    joints3d, rig = walker()[:, :1].repeat(1, 16, 1, 1), camera()
    knee, below = 4, [7, 10]  # the left shin is turned backward by a right angle
    shin = joints3d[:, :, below] - joints3d[:, :, knee, None]
    joints3d[:, :, below] = joints3d[:, :, knee, None] + torch.stack([shin[..., 0], -shin[..., 2], shin[..., 1]], -1)
    kp2d, conf = pixels_of(joints3d, rig), torch.ones(1, 16, 22)
    errors = []
    for robust in (4.0, 1e3):
        told = knowing(joints3d, rig, 0.0, stands=torch.ones(1, 16, 4), fit=RayFitOptions(stand_robust=robust))
        found = told.lift(kp2d, conf, rig, fps=20.0).joints3d
        assert found is not None
        errors.append(float((found - joints3d)[:, :, below].norm(dim=-1).mean()))
    assert errors[0] < 0.03 and errors[1] > 3 * errors[0]


def test_detected_depth_corrects_a_leaning_prediction() -> None:
    joints3d, rig = walker(), camera()
    kp2d, conf = pixels_of(joints3d, rig), torch.ones(1, 40, 22)
    lean = joints3d[..., 1:2] * torch.tensor([0.0, 0.0, 0.15])  # the network leans everybody towards the camera
    pipeline = knowing(joints3d + lean, rig, 0.0)
    rays = joints3d - torch.tensor([0.0, 1.6, 0.0])
    middle = rays[:, :, [1, 2]].mean(2, keepdim=True)
    depth = (rays * middle / middle.norm(dim=-1, keepdim=True)).sum(-1) - middle.norm(dim=-1)
    depth[:, :, 10:12] = torch.nan  # of the feet nothing is told
    known = kp2d, conf, rig
    alone, helped = pipeline.lift(*known, fps=20.0), pipeline.lift(*known, fps=20.0, depth=depth)
    nothing = pipeline.lift(*known, fps=20.0, depth=torch.full_like(depth, torch.nan))
    assert alone.joints3d is not None and helped.joints3d is not None and nothing.joints3d is not None
    assert torch.equal(alone.joints3d, nothing.joints3d)
    pelvis = slice(0, 1)
    errors = [
        float(((x - x[:, :, pelvis]) - (joints3d - joints3d[:, :, pelvis])).norm(dim=-1).mean())
        for x in (alone.joints3d, helped.joints3d)
    ]
    assert errors[1] < 0.7 * errors[0]
    with pytest.raises(ValueError, match="one value per joint"):
        pipeline.lift(*known, fps=20.0, depth=depth[:, :-1])


def test_the_mirror_image_of_a_track_gives_the_mirror_image_of_its_motion() -> None:
    pipeline, rig, joints3d = tiny_pipeline(fit=RayFitOptions(steps=0)), camera(), walker()
    batched, kp2d, conf = (
        Rig(rig.size[None], rig.K4[None], rig.T_w2c[None]),
        pixels_of(joints3d, rig),
        torch.ones(1, 40, 22),
    )
    conf[:, 10:20, 4] = 0.0
    view, pixels, seen = mirrored_view(batched, kp2d, conf)
    one, other = pipeline.lift(kp2d, conf, batched, fps=20.0), pipeline.lift(pixels, seen, view, fps=20.0)
    assert one.joints3d is not None and other.joints3d is not None
    back = other.joints3d[:, :, list(SMPL22.mirror_order)] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(one.joints3d, back, atol=1e-3)


def test_the_mirrored_camera_sees_the_mirrored_world() -> None:
    rig, joints3d = camera(roll=0.2), walker()
    rig = Rig(rig.size[None], torch.tensor([[[900.0, 880.0, 560.0, 380.0]]]), rig.T_w2c[None])
    kp2d, conf = pixels_of(joints3d, rig), torch.rand(1, 40, 22, generator=torch.Generator().manual_seed(0))
    view, pixels, seen = mirrored_view(rig, kp2d, conf)
    order = list(SMPL22.mirror_order)
    other = joints3d[:, :, order] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(pixels, pixels_of(other, view), atol=2e-2)
    assert torch.equal(seen, conf[..., order])
    assert not torch.allclose(view.K4[..., 2], rig.K4[..., 2]), "the principal point goes to the other side, too"


def test_a_long_track_is_one_motion_with_one_body() -> None:
    pipeline, rig, joints3d = tiny_pipeline(), camera(), walker(400)
    out = pipeline.lift(pixels_of(joints3d, rig), torch.ones(1, 400, 22), rig, fps=20.0)
    assert out.joints3d is not None and out.joints3d.shape == (1, 400, 22, 3) and out.joints3d.isfinite().all()
    lengths = bones(out.joints3d)[0]
    assert float((lengths.amax(0) / lengths.amin(0) - 1).max()) < 0.001


def test_other_frame_rates_and_short_tracks_keep_their_frames() -> None:
    pipeline, rig = tiny_pipeline(), camera()
    for frames, fps in ((1, 30.0), (7, 25.0), (50, 30.0), (40, 12.5)):
        kp2d = pixels_of(walker(frames), rig)
        out = pipeline.lift(kp2d, torch.ones(1, frames, 22), rig, fps=fps)
        assert out.joints3d is not None and out.joints3d.shape[1] == frames and out.joints3d.isfinite().all()
        assert all(out.extras[key].shape[:2] == (1, frames) for key in ("sigma", "sigma_along", "sigma_across"))


def test_tracks_of_a_batch_are_lifted_as_alone() -> None:
    pipeline, rig = tiny_pipeline(), camera()
    tracks = [pixels_of(walker(n), rig)[0] for n in (40, 25)]
    padded = torch.nn.utils.rnn.pad_sequence(tracks, batch_first=True)
    together = pipeline.lift(padded, torch.ones(padded.shape[:-1]), rig, fps=20.0, lengths=torch.tensor([40, 25]))
    for row, track in enumerate(tracks):
        alone = pipeline.lift(track[None], torch.ones(1, len(track), 22), rig, fps=20.0)
        assert together[row].joints3d.shape[0] == len(track)
        assert torch.allclose(together[row].joints3d, alone[0].joints3d, atol=1e-4)


def test_samples_have_the_spread_of_the_expected_errors_and_depend_on_the_seed_alone() -> None:
    joints3d, rig = walker(), camera()
    pipeline = knowing(joints3d, rig, 0.0)
    kp2d, conf = pixels_of(joints3d, rig), torch.ones(1, 40, 22)
    first, again, other = (pipeline.lift(kp2d, conf, rig, fps=20.0, seed=s, num_samples=3) for s in (1, 1, 2))
    assert first.extras["samples"].shape == (1, 3, 40, 22, 3)
    assert torch.equal(first.extras["samples"], again.extras["samples"])
    assert first.joints3d is not None and other.joints3d is not None
    assert torch.equal(first.joints3d, other.joints3d)
    assert not torch.equal(first.extras["samples"], other.extras["samples"])
    spread, sigma = (float(first.extras[key].mean()) for key in ("spread", "sigma"))
    assert 0.3 * sigma < spread < 2.0 * sigma


def test_diffusion_steps_and_wrong_shapes_are_refused() -> None:
    pipeline, rig = tiny_pipeline(), camera()
    kp2d, conf = pixels_of(walker(20), rig), torch.ones(1, 20, 22)
    with pytest.raises(ValueError, match="no diffusion steps"):
        pipeline.lift(kp2d, conf, rig, num_inference_steps=2)
    with pytest.raises(ValueError, match="expected \\(B, L, 22, 2\\)"):
        pipeline.lift(kp2d[:, :, :17], conf[:, :, :17], rig)
