"""Bodies fitted to joints: the pose and shape that made the joints come back, smoothly, and what is open is said."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from hmr4d.body.body_model import Body
from hmr4d.body.joint_conventions import rest_in_convention
from hmr4d.body.loading import load_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import SmplBody, load_smpl_body
from hmr4d.motion.fitting import BodyFit, fit_body
from tests.body.smpl_models import smpl_arrays, write_model
from tests.body.true_motions import FPS, floor_motions, person, steps, true_motions, wander
from tests.motions import as_motion

MOTIONS = true_motions() | floor_motions()
FAMILIES = ("anny", "smplh", "smplx")


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Body]:
    folder = tmp_path_factory.mktemp("models")
    made = {name: load_smpl_body(name, path=write_model(folder, name)) for name in ("smplh", "smplx")}
    return {"anny": load_body("anny"), **made}


def someone(body: Body, seed: int = 0) -> Body:
    """A body of the same family with a random shape."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(body, SmplBody):
        return body.with_betas(1.5 * torch.randn(10, generator=generator))
    return body.with_bone_lengths(body.bone_lengths * (0.8 + 0.4 * torch.rand(body.num_joints, generator=generator)))


def joints_of(
    body: Body, rotations: torch.Tensor, place: tuple[float, float, float] = (3.0, 0.2, -5.0)
) -> torch.Tensor:
    translation = torch.tensor(place).expand(len(rotations), 3)
    return body.pose(body.from_smpl22(rotations), translation)[:, list(body.smpl22)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("motion", MOTIONS)
def test_joints_of_a_body_of_the_family_are_restored(bodies: dict[str, Body], family: str, motion: str) -> None:
    rotations = MOTIONS[motion]
    joints3d = joints_of(someone(bodies[family]), rotations)
    fit = fit_body(as_motion(joints3d, fps=FPS), bodies[family])
    assert fit.mean_residual < 0.5e-3
    assert fit.max_residual < 2e-3
    torch.testing.assert_close(fit.posed().joints22(), fit.joints(), atol=1e-4, rtol=0)
    torch.testing.assert_close((fit.joints() - joints3d).norm(dim=-1), fit.residual, atol=1e-4, rtol=0)
    assert steps(fit.pose.rotations).max() < 1.5 * steps(rotations).max()  # no flips


@pytest.mark.slow
@pytest.mark.parametrize("num_frames", [80, 160, 320])
@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_many_people_in_all_attitudes(bodies: dict[str, Body], num_frames: int, noise: float) -> None:
    """Random shapes of all families: exact without noise; with noise of 5 mm, nearly all clips are smooth too."""
    generator = torch.Generator().manual_seed(num_frames)
    ratios = []
    for seed in range(100, 600, 100):
        for name, rotations in (true_motions(num_frames, seed) | floor_motions(num_frames, seed)).items():
            family = FAMILIES[len(ratios) % 3]
            joints3d = joints_of(someone(bodies[family], seed), rotations)
            given = joints3d + noise * torch.randn(joints3d.shape, generator=generator)
            fit = fit_body(as_motion(given, fps=FPS), bodies[family])
            assert (fit.joints() - joints3d).norm(dim=-1).mean() < (0.0035 if noise else 0.1e-3), name
            assert fit.mean_residual < 0.0085
            ratios.append(float(steps(fit.pose.rotations).max() / steps(rotations).max()))
    jumping = sum(ratio > 1.5 for ratio in ratios)
    assert jumping <= (0.1 if noise else 0.02) * len(ratios), sorted(ratios)[-10:]


@pytest.mark.slow
def test_most_random_rotations_turn_no_faster_than_the_true_ones(bodies: dict[str, Body]) -> None:
    """Elbows and knees that bend any way say the wrong thing about shoulders and hips; few clips suffer, and little."""
    ratios = []
    for seed in range(120):
        generator = torch.Generator().manual_seed(5000 + seed)
        rotations = roma.rotvec_to_rotmat(wander(120, generator, 22, 3, scale=(0.3, 0.5, 0.8)[seed % 3]))
        for family in ("anny", "smplh"):
            fit = fit_body(as_motion(joints_of(someone(bodies[family], seed), rotations), fps=FPS), bodies[family])
            assert fit.mean_residual < 0.1e-3
            ratios.append(float(steps(fit.pose.rotations).max() / steps(rotations).max()))
    assert max(ratios) < 1.8
    assert sum(ratio > 1.5 for ratio in ratios) <= 0.06 * len(ratios), sorted(ratios)[-20:]


def test_shape_coefficients_are_restored(bodies: dict[str, Body]) -> None:
    true = someone(bodies["smplh"], seed=4)
    fit = fit_body(as_motion(joints_of(true, MOTIONS["bow"]), fps=FPS), bodies["smplh"])
    assert isinstance(true, SmplBody)
    assert fit.pose.betas is not None
    assert fit.pose.betas.shape == (16,)  # as AMASS has them
    torch.testing.assert_close(fit.pose.betas[:10], true.betas, atol=0.05, rtol=0)
    few = fit_body(as_motion(joints_of(true, MOTIONS["bow"]), fps=FPS), bodies["smplh"], num_betas=2)
    assert few.pose.betas is not None
    assert few.pose.betas.shape == (2,)


@pytest.mark.parametrize("seed", range(4))
def test_extreme_shapes_are_not_taken_for_their_mirror_image(tmp_path: Path, seed: int) -> None:
    """Coefficients of three standard deviations in a model whose joints move by centimeters with each of them."""
    arrays = smpl_arrays("smplh", seed)
    arrays["shapedirs"][..., 2:] *= 10
    np.savez(tmp_path / "model.npz", **arrays)
    model = load_smpl_body("smplh", path=tmp_path / "model.npz")
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        true = model.with_betas(3 * torch.randn(10, generator=generator).sign())
        fit = fit_body(as_motion(joints_of(true, MOTIONS["bow"][::4]), fps=FPS), model)
        assert fit.mean_residual < 0.5e-3
        assert fit.pose.betas is not None
        torch.testing.assert_close(fit.pose.betas[:10], true.betas, atol=0.1, rtol=0)


def test_hinged_limbs_are_restored_whole(bodies: dict[str, Body]) -> None:
    """Knees and elbows that bend well show the twist of hips and shoulders."""
    pose = person(90, 7)
    for joint, axis, sign in ((4, 0, 1), (5, 0, 1), (18, 1, -1), (19, 1, 1)):
        pose[:, joint, axis] = sign * (1.2 + 0.3 * torch.linspace(0, 6, 90).sin())
    true = roma.rotvec_to_rotmat(pose)
    fit = fit_body(as_motion(joints_of(bodies["anny"], true), fps=FPS), bodies["anny"])
    limbs = list(SMPL22.indices("left_hip", "right_hip", "left_shoulder", "right_shoulder"))
    assert roma.rotmat_geodesic_distance(fit.pose.rotations, true)[:, limbs].mean() < 0.12  # radians
    assert not {SMPL22.joint_names[j] for j in limbs} & {u.joint for u in fit.undetermined}


def test_turning_the_world_turns_the_root_alone(bodies: dict[str, Body]) -> None:
    joints3d = joints_of(bodies["anny"], MOTIONS["arms overhead"])
    turn = roma.rotvec_to_rotmat(torch.tensor([0.4, 2.8, -1.0]))
    one, other = (fit_body(as_motion(j, fps=FPS), bodies["anny"]) for j in (joints3d, joints3d @ turn.mT))
    torch.testing.assert_close(other.pose.rotations[:, 1:], one.pose.rotations[:, 1:], atol=2e-3, rtol=0)
    torch.testing.assert_close(other.pose.rotations[:, 0], turn @ one.pose.rotations[:, 0], atol=2e-3, rtol=0)


@pytest.mark.parametrize("motion", ["two turns", "bow", "lies down and rolls over"])
def test_a_body_of_another_shape_follows_as_well_as_it_can(bodies: dict[str, Body], motion: str) -> None:
    """The refinement beats bones that merely point the right way, without a jump; the shape given is kept."""
    body, rotations = bodies["anny"], MOTIONS[motion]
    joints3d = joints_of(someone(body), rotations)
    fit = fit_body(as_motion(joints3d, fps=FPS), body, keep_shape=True)
    assert fit.body is body
    translation = joints3d[:, 0] - body.rest_joints[0]
    pointing = (joints3d - body.pose(rotations, translation)).norm(dim=-1).mean()
    assert fit.mean_residual < 0.75 * pointing
    assert steps(fit.pose.rotations).max() < 1.5 * steps(rotations).max()


@pytest.mark.parametrize("motion", ["two turns", "arms overhead", "lies down and rolls over"])
def test_noise_is_smoothed_away(bodies: dict[str, Body], motion: str) -> None:
    """Noise of 5 mm in each coordinate, 8 mm off: the fit is nearer to the truth, and does not tremble."""
    rotations = MOTIONS[motion]
    joints3d = joints_of(someone(bodies["smplh"]), rotations)
    noisy = joints3d + 0.005 * torch.randn(joints3d.shape, generator=torch.Generator().manual_seed(0))
    fit = fit_body(as_motion(noisy, fps=FPS), bodies["smplh"])
    assert fit.mean_residual < 0.0085
    assert fit.noise == pytest.approx(0.005, rel=0.15)
    assert (fit.joints() - joints3d).norm(dim=-1).mean() < 0.003
    assert steps(fit.pose.rotations).max() < 1.5 * steps(rotations).max()


def test_what_joints_do_not_show_is_reported(bodies: dict[str, Body]) -> None:
    fit = fit_body(as_motion(bodies["smplx"].rest_joints[None, :22].repeat(4, 1, 1), fps=FPS), bodies["smplx"])
    parts = {u.joint: u for u in fit.undetermined}
    assert {parts[j].part for j in ("head", "left_wrist", "right_foot", "fingers and face")} == {"rotation"}
    assert {parts[j].part for j in ("neck", "left_elbow", "right_shoulder", "left_knee")} == {"twist"}
    assert parts["left_shoulder"].share == 1.0  # straight arms
    assert not {"pelvis", "spine3"} & set(parts)


def test_a_spine_with_a_joint_put_in_between_is_not_bent_there_and_back(bodies: dict[str, Body]) -> None:
    joints3d = joints_of(bodies["anny"], MOTIONS["bow"])
    spine2 = SMPL22.index("spine2")
    joints3d[:, spine2] = 0.3 * joints3d[:, SMPL22.index("spine1")] + 0.7 * joints3d[:, SMPL22.index("spine3")]
    fit = fit_body(as_motion(joints3d, fps=FPS), bodies["anny"])
    assert fit.axis_angle[:, spine2].norm(dim=-1).max() < 0.15  # radians; 0.44 lie between the bones of the body
    assert fit.mean_residual < 0.005  # the two bones change their length a little


@pytest.mark.parametrize("family", ["anny", "smplh"])
def test_somebody_of_another_source_stands_on_flat_feet_and_looks_ahead(bodies: dict[str, Body], family: str) -> None:
    body = bodies[family]
    own = body.rest_joints[list(body.smpl22)]
    joints3d = rest_in_convention(own, "bandai_namco").repeat(5, 1, 1)
    fit = fit_body(as_motion(joints3d, metadata={"joint_convention": "bandai_namco"}), body)
    straight = torch.eye(3).expand(5, 22, 3, 3)
    torch.testing.assert_close(fit.pose.rotations, straight, atol=5e-3, rtol=0)
    assert fit.max_residual < 1e-3
    lengths, torso = [(x - x[0])[1:].norm(dim=-1) for x in (fit.joints()[0], own)], slice(0, 9)
    torch.testing.assert_close(lengths[0][torso], lengths[1][torso], atol=2e-3, rtol=0)  # its own head and feet
    assert (fit_body(as_motion(joints3d), body).pose.rotations - straight).abs().max() > 0.1
    with pytest.raises(ValueError, match="'mars'; known"):
        fit_body(as_motion(joints3d, metadata={"joint_convention": "mars"}), body)


def test_a_fit_is_a_motion_with_the_pose_of_the_body(bodies: dict[str, Body]) -> None:
    given = as_motion(joints_of(someone(bodies["smplh"]), MOTIONS["bow"]), fps=FPS, text="bows", metadata={"seed": 3})
    fit = fit_body(given, bodies["smplh"])
    motion = fit.motion
    assert (motion.text, motion.fps, motion.provenance.seed) == ("bows", FPS, 3)
    assert motion.pose is not None and motion.pose.body == "smplh" and motion.pose.betas is not None
    torch.testing.assert_close(motion.joints3d, fit.posed().joints22(), atol=1e-5, rtol=0)


def test_long_clips_take_time_in_proportion(bodies: dict[str, Body]) -> None:
    """Ten times the frames: about ten times the time, and the same pose in the middle."""
    joints3d = joints_of(someone(bodies["anny"]), MOTIONS["two turns"])
    there_and_back = torch.cat([joints3d, joints3d.flip(0)])

    def seconds(clip: torch.Tensor) -> tuple[float, BodyFit]:
        begun = time.process_time()
        fit = fit_body(as_motion(clip, fps=FPS), bodies["anny"])
        return time.process_time() - begun, fit

    short, _ = min((seconds(there_and_back) for _ in range(3)), key=lambda pair: pair[0])
    long, fit = seconds(there_and_back.repeat(10, 1, 1))
    assert long < 25 * short
    torch.testing.assert_close(fit.pose.rotations[960:1200], fit.pose.rotations[480:720], atol=1e-3, rtol=0)


def test_a_single_frame_is_a_clip(bodies: dict[str, Body]) -> None:
    joints3d = joints_of(someone(bodies["smplh"]), MOTIONS["bow"][-1:])
    fit = fit_body(as_motion(joints3d, fps=FPS), bodies["smplh"])
    assert fit.pose.rotations.shape == (1, 22, 3, 3)
    assert fit.axis_angle.shape == (1, 22, 3)
    assert fit.mean_residual < 0.5e-3
    assert fit_body(as_motion(joints3d, fps=FPS), bodies["smplh"], keep_shape=True).mean_residual < 0.05


def test_bad_input_is_named(bodies: dict[str, Body], tmp_path: Path) -> None:
    body = bodies["anny"]
    joints3d = joints_of(body, MOTIONS["bow"][:5])
    holed, collapsed = joints3d.clone(), joints3d.clone()
    holed[3, 15, 1] = torch.nan
    collapsed[2, 4] = collapsed[2, 1]
    wrong = {
        "not finite at frame 3, joint 15 \\(head\\)": (holed, {}),
        "bone left_hip - left_knee has no length at frame 2": (collapsed, {}),
        "Give joints in meters": (1000 * joints3d, {}),
        "21 joints but skeleton": (joints3d[:, :21], {}),
        "no frames": (joints3d[:0], {}),
        "not of 'smpl24'": (joints3d, {"skeleton": replace(SMPL22, name="smpl24")}),
        "fps is 0": (joints3d, {"fps": 0}),
    }
    for message, (clip, more) in wrong.items():
        with pytest.raises(ValueError, match=message):
            fit_body(as_motion(clip, **{"fps": FPS, **more}), body)
    with pytest.raises(ValueError, match="num_betas is 99"):
        fit_body(as_motion(joints3d, fps=FPS), bodies["smplh"], num_betas=99)
