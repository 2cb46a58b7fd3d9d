"""Cleaning: true motion passes, corrupted motion comes nearer to the truth, files of rotations hold the very motion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.body.joint_conventions import convention_metadata
from hmr4d.body.skeleton import SMPL22
from hmr4d.export.bvh import write_bvh
from hmr4d.export.glb import write_glb
from hmr4d.metrics.physical import foot_skating, jitter
from hmr4d.motion.cleaning import clean_motion
from hmr4d.motion_files.bvh import read_bvh
from tests.body.people import ANKLES, FPS, PEOPLE, TOES, batch, jump, run, sit, walk, wave
from tests.export.gltf_reader import Glb
from tests.motions import as_motion

Make = Callable[[], np.ndarray]
RNG = np.random.default_rng(0)


def cleaned(motion: np.ndarray) -> np.ndarray:
    return clean_motion(batch(motion), fps=FPS)[0].double().numpy()


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Meters, mean over joints and frames."""
    return float(np.linalg.norm(a - b, axis=-1).mean())


def corrupted(motion: np.ndarray) -> np.ndarray:
    """It slides, rises, changes its bones and has seams every four frames."""
    time = np.arange(len(motion)) / FPS
    slow = RNG.normal(scale=0.01, size=(len(motion) // 10 + 2, 22, 3))
    knots = np.linspace(0, len(slow) - 1.001, len(motion))
    first = knots.astype(int)
    share = (knots - first)[:, None, None]
    seams = np.repeat(RNG.normal(scale=0.004, size=(-(-len(motion) // 4), 22, 3)), 4, 0)[: len(motion)]
    drift = np.stack([0.12 * time, 0.03 * time, -0.08 * time], -1)[:, None]
    return motion + drift + slow[first] * (1 - share) + slow[first + 1] * share + seams


@pytest.mark.parametrize("name", PEOPLE)
def test_true_motion_passes_almost_unchanged(name: str) -> None:
    true = PEOPLE[name]()
    assert distance(cleaned(true), true) < 0.005


@pytest.mark.parametrize("name", PEOPLE)
def test_the_height_of_jumps_stairs_and_seats_is_kept(name: str) -> None:
    true = PEOPLE[name]()
    made = cleaned(true)
    assert np.abs(made[:, 0, 1] - true[:, 0, 1]).max() < 0.02
    assert np.abs(np.ptp(made[..., 1]) - np.ptp(true[..., 1])) < 0.02


@pytest.mark.parametrize("make", [walk, run, sit, wave])
def test_spoilt_motion_comes_nearer_to_the_truth(make: Make) -> None:
    true = make()
    given = corrupted(true)
    made = cleaned(given)

    def pose(motion: np.ndarray) -> np.ndarray:  # where on the floor it all happens cannot be known
        return motion - motion[:, :1] * [1, 0, 1] - [0, motion[..., 1].min(), 0]

    assert distance(pose(made), pose(true)) < 0.85 * distance(pose(given), pose(true))
    lengths = torch.tensor([len(true)])
    slides = [float(foot_skating(batch(m), lengths, FPS)) for m in (given, made, true)]
    assert slides[1] < max(0.6 * slides[0], 1.3 * slides[2])
    shakes = [float(jitter(batch(m), lengths, FPS)) for m in (given, made, true)]
    assert shakes[1] < shakes[0] and shakes[1] > 0.7 * shakes[2]


@pytest.mark.parametrize("make", [walk, run, jump])
def test_bones_are_constant_and_the_same_left_and_right(make: Make) -> None:
    made = cleaned(corrupted(make()))
    parents, children = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
    bones = np.linalg.norm(made[:, children] - made[:, parents], axis=-1)
    assert np.ptp(bones, axis=0).max() < 1e-5
    twins = [children.index(SMPL22.mirror_order[c]) for c in children]
    assert np.abs(bones - bones[:, twins]).max() < 1e-5


@pytest.mark.parametrize("make", [walk, jump, sit])
@pytest.mark.parametrize("convention", [None, "bandai_namco"])
def test_bvh_and_glb_hold_the_very_motion(make: Make, convention: str | None, tmp_path: Path) -> None:
    made = cleaned(corrupted(make())).astype(np.float32)
    rigid = write_bvh(tmp_path / "motion.bvh", as_motion(made, fps=FPS, metadata=convention_metadata(convention)))
    clip = read_bvh(tmp_path / "motion.bvh")
    read = clip.forward_kinematics()[:, [clip.joint_names.index(n) for n in SMPL22.joint_names]]
    assert np.linalg.norm(read - made, axis=-1).max() < 1e-3 and rigid.largest < 1e-3
    write_glb(tmp_path / "motion.glb", as_motion(made, fps=FPS, metadata=convention_metadata(convention)))
    glb = Glb(tmp_path / "motion.glb")
    order = [glb.joint_names.index(n) for n in SMPL22.joint_names]
    for frame in (0, 13, len(made) - 1):
        assert np.linalg.norm(glb.joints(frame / FPS)[order] - made[frame], axis=-1).max() < 1e-3


def test_each_step_can_be_switched_off() -> None:
    motion = batch(corrupted(walk(40)))
    assert torch.equal(clean_motion(motion, fps=FPS, smooth=False, rigid_bones=False, plant=False), motion)
    alone = [
        clean_motion(motion, fps=FPS, **{"smooth": False, "rigid_bones": False, "plant": False} | {switch: True})
        for switch in ("smooth", "rigid_bones", "plant")
    ]
    assert len({float(x.sum()) for x in alone}) == 3
    slides = foot_skating(alone[2], torch.tensor([40]), FPS)
    assert slides < foot_skating(alone[1], torch.tensor([40]), FPS)


def test_nothing_is_below_the_ground_on_which_feet_stand() -> None:
    motion = walk()
    motion[30:34, list(TOES)[0], 1] -= 0.05
    motion[30:34, list(ANKLES)[0], 1] -= 0.05
    made = cleaned(motion)
    assert made[..., 1].min() > -0.01


def test_alone_and_in_a_padded_batch_the_result_is_the_same() -> None:
    motions = [corrupted(walk(50)), corrupted(jump(60))]
    padded = torch.full((2, 60, 22, 3), 7.0)
    for row, motion in zip(padded, motions, strict=True):
        row[: len(motion)] = batch(motion)[0]
    given = padded.clone()
    together = clean_motion(padded, fps=FPS, lengths=torch.tensor([50, 60]))
    assert torch.equal(padded, given) and torch.equal(together[0, 50:], padded[0, 50:])
    for row, motion in zip(together, motions, strict=True):
        assert torch.equal(row[: len(motion)], clean_motion(batch(motion), fps=FPS)[0])


@pytest.mark.parametrize("degrees", [90.0, 217.0])
def test_the_heading_does_not_matter(degrees: float) -> None:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    motion = corrupted(walk(50))
    assert np.abs(cleaned(motion @ turn.T) - cleaned(motion) @ turn.T).max() < 1e-4


def test_motion_that_cannot_be_cleaned_is_refused() -> None:
    motion = batch(walk(10))
    with pytest.raises(ValueError, match="expected"):
        clean_motion(motion[0], fps=FPS)
    motion[0, 3, 2, 1] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        clean_motion(motion, fps=FPS)
    clean_motion(motion, fps=FPS, lengths=torch.tensor([3]))
