"""Clips for scores of lifting: the same whatever is asked for beside them, with errors of the size asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import COCO17, SMPL22, SMPL24
from hmr4d.camera.rig_samplers import SurroundingRigs
from hmr4d.data.lifting.corruptions import NO_CORRUPTION, KeypointCorruption
from hmr4d.data.lifting.views import LiftingViews, seen_by_detector
from hmr4d.data.store_writer import Caption, StoreWriter
from hmr4d.evaluation.lifting_clips import StoreClips, aistpp_clips
from hmr4d.evaluation.lifting_data import ScoredLifts, spread_views
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.utils.randomness import ItemRandom
from tests.data.capture_files import write_aistpp

QUIET: dict[str, Any] = {
    "noise": 0.0,
    "limb_prob": 0.0,
    "dropout_prob": 0.0,
    "swap_prob": 0.0,
    "outlier_prob": 0.0,
    "outlier_size": 0.0,
    "hide_outside": False,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("store") / "walks"
    writer = StoreWriter(out, name="walks", source="test", licence="none", notice="made up", settings={}, fps=20.0)
    for number in range(6):
        joints3d = synthetic_joints("walk", 30 + number, np.random.default_rng(number))
        writer.add(f"walk{number}", joints3d.astype(np.float32), split="test")
    writer.finish(annotate=lambda record: [Caption("a walk")], mirror_text=str, tokenize=str.split)
    return out


def lifts(store: Path, **options: Any) -> ScoredLifts:
    views = LiftingViews(
        str(store),
        "test",
        rigs=SurroundingRigs(),
        codec=BboxPose2DCodec(SMPL22),
        fps=20.0,
        min_frames=30,
        grid=8,
        seed=options.get("set_seed", 0),
    )
    return ScoredLifts(partial(StoreClips, views), **options)


def test_items_do_not_depend_on_how_many_are_requested(store: Path) -> None:
    corruption = KeypointCorruption(**QUIET, noise_px=3.0, missing_prob=0.2)
    whole, few = lifts(store, corruption=corruption), lifts(store, corruption=corruption, limit=3)
    assert few.items == [0, 2, 4] and whole.items == list(range(6)) and few.identity() == whole.identity()
    few.choose([4])
    for key, value in few[0].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(whole[4][key])), key
    assert whole.identity() != lifts(store, corruption=corruption, set_seed=1).identity()


def test_without_errors_the_observation_is_the_exact_projection_in_every_view(store: Path) -> None:
    data = lifts(store)
    seen, clip = data.observation(1), data.clip(1)
    assert torch.equal(seen.kp2d, project(seen.rig, clip.joints3d)[0]) and bool((seen.conf == 1).all())
    assert seen.rig.num_views == 4 and clip.root_joints == SMPL22.indices("left_hip", "right_hip")
    assert data.sequence(1) == "walk1" and clip.name == "walk1/drawn"


def test_noise_has_the_requested_size_and_differs_between_views(store: Path) -> None:
    sigma, missing = 6.0, 0.25
    data = lifts(store, corruption=KeypointCorruption(**QUIET, noise_px=sigma, missing_prob=missing))
    ratios, shares = [], []
    for item in data.items:
        seen, clip = data.observation(item), data.clip(item)
        known = seen.conf > 0
        error = (seen.kp2d - project(seen.rig, clip.joints3d)[0]) * 1080 / seen.rig.size.amin(-1)[:, None, None, None]
        ratios.append(error[known].square().mean().sqrt() / sigma)
        shares.append(1 - known.float().mean())
        assert bool((seen.kp2d[~known] == 0).all())
        both = known[0] & known[1]
        assert abs(np.corrcoef(error[0][both].flatten(), error[1][both].flatten())[0, 1]) < 0.1
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.02) and np.mean(shares) == pytest.approx(missing, abs=0.02)


def test_smpl_joints_are_derived_from_keypoints_in_every_view(store: Path) -> None:
    data, exact = lifts(store, keypoints="coco17"), lifts(store)
    seen, truth = data.observation(1), exact.observation(1)
    limbs = [i for i, n in enumerate(SMPL22.joint_names) if n.endswith(("shoulder", "elbow", "wrist", "knee", "ankle"))]
    feet = list(SMPL22.indices("left_foot", "right_foot"))
    mixed = sorted(set(range(22)) - {*limbs, *feet})
    assert torch.equal(seen.conf[..., limbs], torch.ones_like(seen.conf[..., limbs])) and len(limbs) == 10
    assert bool((seen.conf[..., mixed] == 0.5).all()) and bool((seen.conf[..., feet] == 0).all())
    assert torch.allclose(seen.kp2d[:, :, limbs], truth.kp2d[:, :, limbs], atol=1e-2)
    assert bool((seen.kp2d[:, :, feet] == 0).all())
    depth = project(seen.rig, data.clip(1).joints3d)[1][..., mixed, None]
    meters = (seen.kp2d - truth.kp2d)[:, :, mixed] * depth / seen.rig.K4[:, None, None, :2]
    assert 0.001 < float(meters.norm(dim=-1).mean()) < 0.03  # mixtures are near, not right
    for view in range(4):  # as networks are shown it in training
        kp2d, known = seen_by_detector(data.clip(1).joints3d, seen.rig.select([view]), with_toes=False)
        assert torch.allclose(kp2d, seen.kp2d[view], atol=1e-2) and torch.equal(known, seen.conf[view] > 0)
    assert torch.equal(data.clip(1).joints3d, exact.clip(1).joints3d)  # what is scored
    assert data.identity() == exact.identity() | {"keypoints": "coco17"} and len(data.joint_notes) == 1
    assert torch.equal(data[1]["conf"], seen.conf[0]) and exact.joint_notes == []


def test_errors_are_added_to_keypoints_before_joints_are_derived(store: Path) -> None:
    sigma, missing = 8.0, 0.3
    exact = lifts(store, keypoints="coco17")
    noisy = lifts(store, keypoints="coco17", corruption=KeypointCorruption(**QUIET, noise_px=sigma))
    holed = lifts(store, keypoints="coco17", corruption=KeypointCorruption(**QUIET, missing_prob=missing))
    errors, shares = [], []
    for item in exact.items:
        true, seen = exact.observation(item), noisy.observation(item)
        errors.append((seen.kp2d - true.kp2d) * 1080 / true.rig.size.amin(-1)[:, None, None, None] / sigma)
        shares.append((holed.observation(item).conf == 0).float().mean((0, 1)))
    error, share = torch.cat(errors, 1).square().mean((0, 1, 3)).sqrt(), torch.stack(shares).mean(0)
    wrist, pelvis = SMPL22.index("left_wrist"), SMPL22.index("pelvis")
    assert float(error[wrist]) == pytest.approx(1.0, abs=0.05) and 0.4 < float(error[pelvis]) < 0.8  # a mean of four
    assert float(share[wrist]) == pytest.approx(missing, abs=0.04)
    assert float(share[pelvis]) == pytest.approx(1 - 0.7**2, abs=0.04)  # hips alone tell it, both


def test_pixel_noise_and_missing_joints_do_not_change_other_random_draws() -> None:
    pixels, side, size = torch.full((9, 22, 2), 300.0), torch.full((9, 2), 80.0), torch.tensor([640.0, 480.0])
    plain = KeypointCorruption().apply(pixels, side, size, SMPL22, ItemRandom.from_seed(3))
    same = KeypointCorruption(noise_px=0.0, missing_prob=0.0).apply(pixels, side, size, SMPL22, ItemRandom.from_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(plain, same, strict=True))
    assert KeypointCorruption(**QUIET) == NO_CORRUPTION
    with pytest.raises(ValueError, match="noise_px is -1; expected a standard deviation"):
        KeypointCorruption(noise_px=-1)


def test_invalid_options_are_refused(store: Path) -> None:
    with pytest.raises(ValueError, match="views is 'all'; choose one of virtual, captured"):
        lifts(store, views="all")
    with pytest.raises(ValueError, match="keypoints is 'halpe26'; choose one of coco17, openpose18, or null"):
        lifts(store, keypoints="halpe26")
    with pytest.raises(ValueError, match="show 'smpl22' joints and the method lifts 'coco17'"):
        lifts(store, skeleton=COCO17).clip(0)


def test_other_cameras_are_chosen_evenly_by_yaw() -> None:
    yaw = torch.tensor([0.0, 4.0, 1.0, 2.0, 5.0, 3.0, 6.0])
    zero = torch.zeros_like(yaw)
    T_w2c = camera_pose(zero, zero, yaw, torch.stack([zero, zero + 1.5, zero], -1))
    rig = Rig(torch.ones(7, 2), torch.ones(7, 4), T_w2c)
    chosen = spread_views(rig, 4)
    assert chosen[0] == 0 and [float(yaw[v]) for v in chosen[1:]] == [2.0, 4.0, 6.0]
    assert sorted(spread_views(rig, 9)) == list(range(7))


def test_virtual_cameras_look_at_the_person_of_a_recording(tmp_path: Path) -> None:
    write_aistpp(tmp_path / "aistpp", num_frames=96)
    source = partial(aistpp_clips, tmp_path / "aistpp", detected=False)
    for views in ("virtual", "captured"):
        data = ScoredLifts(source, views=views, limit=2)  # type: ignore[arg-type]
        seen, clip = data.observation(0), data.clip(0)
        assert seen.rig.num_views == 4 and len(clip.joints3d) == 48
        pixels, depth = project(seen.rig, clip.joints3d[clip.valid.all(-1)])
        inside = ((pixels >= 0) & (pixels < seen.rig.size[:, None, None])).all(-1) & (depth > 0)
        assert inside.float().mean((1, 2)).min() > 0.9


def test_smpl_joints_are_lifted_from_detections_and_detections_scored(tmp_path: Path) -> None:
    write_aistpp(tmp_path / "aistpp", num_frames=48)
    source = partial(aistpp_clips, tmp_path / "aistpp")
    own, smpl, hands = (ScoredLifts(source, skeleton=s, limit=1) for s in (COCO17, SMPL22, SMPL24))
    keypoints, clip = own.observation(0), smpl.clip(0)
    assert clip.skeleton is COCO17 and torch.equal(clip.joints3d, own.clip(0).joints3d)  # the truth stays
    assert own.joint_notes == [] and len(smpl.joint_notes) == 2 and smpl.identity()["lifted"] == "smpl22"
    for data in (smpl, hands):
        seen = data.observation(0)
        assert seen.skeleton is data.lifted and torch.equal(seen.rig.T_w2c, keypoints.rig.T_w2c)
        for name in ("left_wrist", "right_knee"):
            here, there = data.lifted.index(name), COCO17.index(name)
            assert torch.equal(seen.kp2d[:, :, here], keypoints.kp2d[:, :, there])
            assert torch.equal(seen.conf[:, :, here], keypoints.conf[:, :, there])
        torso = keypoints.conf[..., list(COCO17.indices("left_hip", "right_hip", "left_shoulder", "right_shoulder"))]
        whole = (torso > 0).all(-1)
        pelvis = seen.conf[..., SMPL22.index("pelvis")]
        assert bool(whole.any()) and torch.equal(pelvis[whole], torso.amin(-1).clamp(max=0.5)[whole])
    wrist, elbow = (keypoints.conf[..., COCO17.index(f"left_{part}")] for part in ("wrist", "elbow"))
    assert torch.equal(hands.observation(0).conf[..., SMPL24.index("left_hand")], torch.minimum(wrist, elbow))
    twice = ScoredLifts(source, keypoints="openpose18", limit=1)
    with pytest.raises(ValueError, match=r"already show 'coco17' keypoints\. Remove the option keypoints"):
        twice.observation(0)
