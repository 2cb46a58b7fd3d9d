"""Lifting without networks, on projected clips whose 3D is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import smpl_to_coco17
from hmr4d.body.skeleton import COCO17, HALPE26, SMPL22, Skeleton
from hmr4d.data.store import MotionStore
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.methods.lifting_baselines.ground_ray import ground_ray
from hmr4d.methods.lifting_baselines.optimization import FitOptions, level_camera, optimization
from hmr4d.methods.lifting_baselines.oracle import oracle
from hmr4d.methods.lifting_baselines.pipeline import GroundRayPipeline
from hmr4d.metrics.pose_errors import pose_errors
from hmr4d.motion.procedural import synthetic_joints

FPS = 20.0
STORE = Path(__file__).resolve().parents[3] / "inputs" / "bandai_namco"
QUICK = FitOptions(root_steps=10, steps=30)


def rig(num_views: int = 1, *, pitch: float = 12.0, height: float = 1.7, roll: float = 3.0, zoom: float = 1.0) -> Rig:
    """Cameras on a circle of 5 m around (0, 0, -5); view 0 above the origin, heading to -z."""
    yaw = torch.arange(num_views, dtype=torch.float64) * (2 * torch.pi / max(num_views, 4))
    center = torch.stack([5 * yaw.sin(), torch.full_like(yaw, height), 5 * yaw.cos() - 5], -1)
    angles = [torch.full_like(yaw, math.radians(a)) for a in (pitch, roll)]
    size = torch.tensor([1920.0, 1080.0]).double().expand(num_views, 2) * zoom
    K4 = torch.tensor([1400.0, 1400.0, 960.0, 540.0]).double().expand(num_views, 4) * zoom
    return Rig(size, K4, camera_pose(*angles, yaw, center))


def clip(content: str = "walk", length: int = 40, distance: float = 5.0, seed: int = 3) -> Tensor:
    """(L, 22, 3) meters around (0, 0, -distance), standing toes 2 cm above the floor."""
    joints3d = torch.from_numpy(synthetic_joints(content, length, np.random.default_rng(seed))).double()
    middle = joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0])
    return joints3d - middle + torch.tensor([0.0, 0.02, -distance])


def see(joints3d: Tensor, cameras: Rig, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Pixels (V, L, J, 2) and confidences of ones."""
    pixels, _ = project(cameras, joints3d)
    pixels = pixels + noise * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1), dtype=pixels.dtype)
    return pixels, torch.ones_like(pixels[..., 0])


def mean_errors(pred: Tensor, target: Tensor, skeleton: Skeleton = SMPL22) -> dict[str, float]:
    hips = skeleton.indices("left_hip", "right_hip")
    return {k: float(v.mean()) for k, v in pose_errors(pred, target, fps=FPS, root_joints=hips).items()}


# --- oracle -----------------------------------------------------------------------------------------------------------


def test_triangulation_of_all_views_recovers_the_motion() -> None:
    joints3d, cameras = clip(), rig(4)
    kp2d, conf = see(joints3d, cameras)
    assert (oracle(kp2d, conf, cameras, SMPL22) - joints3d).norm(dim=-1).max() < 1e-6
    conf[0, :, 5], conf[1, 3] = 0, 0  # two views of four are still enough
    kp2d[0, :, 5] = 1e6
    assert (oracle(kp2d, conf, cameras, SMPL22) - joints3d).norm(dim=-1).max() < 1e-6


def test_a_joint_that_is_never_visible_is_placed_at_its_parent() -> None:
    joints3d, cameras = clip(), rig(4)
    kp2d, conf = see(joints3d, cameras)
    for name in ("left_foot", "right_hip", "right_knee"):
        conf[:, :, SMPL22.index(name)] = 0
    conf[:, 5:, SMPL22.index("left_wrist")] = 0  # shown at times: held
    lifted = oracle(kp2d, conf, cameras, SMPL22)
    for name, instead in (("left_foot", "left_ankle"), ("right_hip", "pelvis"), ("right_knee", "pelvis")):
        assert (lifted[:, SMPL22.index(name)] - joints3d[:, SMPL22.index(instead)]).norm(dim=-1).max() < 1e-6, name
    assert (lifted[5:] - joints3d[4])[:, SMPL22.index("left_wrist")].norm(dim=-1).max() < 1e-6
    assert (lifted - joints3d)[:, SMPL22.index("right_ankle")].norm(dim=-1).max() < 1e-6


def test_the_noise_floor_grows_with_the_noise() -> None:
    joints3d, cameras = clip(), rig(4)
    floor = [
        mean_errors(oracle(*see(joints3d, cameras, sigma), cameras, SMPL22), joints3d)["abs_mpjpe"]
        for sigma in (1.0, 2.0)
    ]
    # A pixel at 5 m and a focal length of 1400 is 3.6 mm; four views and three directions leave about that.
    assert 1 < floor[0] < 6 and floor[1] == pytest.approx(2 * floor[0], rel=0.05)


def test_one_view_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least two"):
        oracle(*see(clip(), rig(1)), rig(1), SMPL22)


# --- one view ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["walk", "wave-left-hand", "bow"])
def test_the_floor_determines_the_position(content: str) -> None:
    for distance in (3.5, 8.0):
        joints3d, cameras = clip(content, distance=distance), rig()
        kp2d, conf = see(joints3d, cameras)
        found = mean_errors(ground_ray(kp2d[0], conf[0], cameras, FPS, SMPL22), joints3d)
        assert found["t_root_abs"] < 40 * distance and found["pa_mpjpe"] < 90


def test_joints_lie_on_their_rays() -> None:
    joints3d, cameras = clip(), rig()
    kp2d, conf = see(joints3d, cameras)
    again, depth = project(cameras, ground_ray(kp2d[0], conf[0], cameras, FPS, SMPL22))
    torch.testing.assert_close(again, kp2d, atol=1e-6, rtol=0)
    assert depth.min() > 1


def test_pixels_are_only_a_unit() -> None:
    joints3d = clip()
    found = [ground_ray(*(a[0] for a in see(joints3d, rig(zoom=z))), rig(zoom=z), FPS, SMPL22) for z in (1.0, 2.0)]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)


def test_detector_keypoints_work_too() -> None:
    joints3d, cameras = smpl_to_coco17(clip()), rig()
    kp2d, conf = see(joints3d, cameras, noise=2.0)
    found = mean_errors(ground_ray(kp2d[0], conf[0], cameras, FPS, COCO17), joints3d, COCO17)
    assert found["t_root_abs"] < 200 and found["pa_mpjpe"] < 100


def test_missing_joints_and_feet_out_of_the_image() -> None:
    joints3d, cameras = clip(), rig()
    kp2d, conf = see(joints3d, cameras)
    kp2d, conf = kp2d[0].clone(), conf[0].clone()
    conf[10:20, 20], conf[:, 15] = 0, 0.1
    kp2d[10:20, 20], kp2d[:, 15] = torch.nan, -1e5
    found = ground_ray(kp2d, conf, cameras, FPS, SMPL22)
    assert (found - joints3d).norm(dim=-1).mean() < 0.25 and (found - joints3d)[..., 15, :].norm(dim=-1).max() < 0.6
    feet = [4, 5, 7, 8, 10, 11]
    conf[:, feet], kp2d[:, feet] = 0, 0
    for lift in (ground_ray, lambda *a: optimization(*a, options=QUICK)):
        found = lift(kp2d, conf, cameras, FPS, SMPL22)
        assert found.isfinite().all() and mean_errors(found, joints3d)["t_root_abs"] < 1500  # by its size alone


@pytest.mark.parametrize("lift", [ground_ray, lambda *a: optimization(*a, options=QUICK)], ids=["ray", "fit"])
def test_inputs_are_unchanged_and_short_tracks_work(lift: Callable[..., Tensor]) -> None:
    joints3d, cameras = clip(length=10), rig()
    kp2d, conf = (a[0].float() for a in see(joints3d, cameras))
    before = kp2d.clone(), conf.clone(), cameras.T_w2c.clone()
    first = lift(kp2d, conf, cameras, FPS, SMPL22)
    assert torch.equal(first, lift(kp2d, conf, cameras, FPS, SMPL22)) and first.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(before, (kp2d, conf, cameras.T_w2c), strict=True))
    for length in (1, 2, 3):
        assert lift(kp2d[:length], conf[:length], cameras, FPS, SMPL22).shape == (length, 22, 3)


def test_fitting_keeps_bones_and_feet_and_moves_smoothly() -> None:
    joints3d, cameras = clip(length=30), rig()
    kp2d, conf = see(joints3d, cameras, noise=3.0)
    ray = mean_errors(ground_ray(kp2d[0], conf[0], cameras, FPS, SMPL22), joints3d)
    fitted = optimization(kp2d[0], conf[0], cameras, FPS, SMPL22, options=FitOptions(root_steps=20, steps=80))
    fit = mean_errors(fitted, joints3d)
    assert fit["pa_mpjpe"] < 60 and fit["jitter_10m_s3"] < 0.5 * ray["jitter_10m_s3"]
    assert fit["abs_mpjpe"] < 200 and fitted[:, [10, 11], 1].min() > -0.03
    bones = (fitted[:, 4] - fitted[:, 1]).norm(dim=-1)
    torch.testing.assert_close(bones, bones[:1].expand_as(bones), atol=1e-4, rtol=0)


def test_unknown_camera_parameters_are_not_used() -> None:
    joints3d, cameras = clip(), rig()
    kp2d, conf = (a[0] for a in see(joints3d, cameras))
    other = Rig(cameras.size, 2 * cameras.K4, camera_pose(*torch.zeros(3, 1).double(), torch.ones(1, 3).double()))
    found = [optimization(kp2d, conf, c, FPS, SMPL22, known_camera="nothing", options=QUICK) for c in (cameras, other)]
    assert torch.equal(*found)
    feet = found[0][:, [7, 8, 10, 11], 1] - torch.tensor([0.08, 0.08, 0.02, 0.02])
    assert feet.amin(-1).quantile(0.05).abs() < 1e-3  # it stands on the floor all the same
    assert mean_errors(found[0], joints3d)["pa_mpjpe"] < 100
    level = level_camera(cameras, known_focal=True)
    assert torch.equal(level.K4, cameras.K4) and torch.equal(level.centers, torch.zeros(1, 3).double())


def test_wrong_input_is_named() -> None:
    joints3d, cameras = clip(length=5), rig()
    kp2d, conf = (a[0] for a in see(joints3d, cameras))
    for lift in (ground_ray, optimization):
        with pytest.raises(ValueError, match=r"needs \(L, 17, 2\)"):
            lift(kp2d, conf, cameras, FPS, COCO17)
        with pytest.raises(ValueError, match="fps is 0"):
            lift(kp2d, conf, cameras, 0.0, SMPL22)
        with pytest.raises(ValueError, match="shows the root"):
            lift(kp2d, 0 * conf, cameras, FPS, SMPL22)
        with pytest.raises(ValueError, match=HALPE26.name):
            lift(torch.zeros(5, 26, 2), torch.ones(5, 26), cameras, FPS, HALPE26)
    with pytest.raises(ValueError, match="known_camera is 'some'"):
        optimization(kp2d, conf, cameras, FPS, SMPL22, known_camera="some")  # type: ignore[arg-type]


@pytest.mark.assets
@pytest.mark.skipif(not STORE.is_dir(), reason=f"no prepared motion {STORE}")
def test_real_clips_are_lifted_to_their_position() -> None:
    store, cameras = MotionStore.open(STORE), rig()
    found = []
    for index in store.indices("test")[::60][:3]:
        joints3d = torch.from_numpy(np.array(store.joints3d(int(index)))[:60]).double()
        joints3d = joints3d - joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0]) - torch.tensor([0.0, 0.0, 5.0])
        joints3d[..., 1] -= joints3d[:, [10, 11], 1].quantile(0.01) - 0.02
        kp2d, conf = see(joints3d, cameras)
        found.append(mean_errors(ground_ray(kp2d[0], conf[0], cameras, store.fps, SMPL22), joints3d)["abs_mpjpe"])
    assert np.mean(found) < 200


# --- as a pipeline ----------------------------------------------------------------------------------------------------


def test_tracks_share_one_rig_or_have_one_each() -> None:
    camera = rig()
    pixels, conf = see(clip(length=12), camera)
    lifter = GroundRayPipeline(SMPL22)
    both = lifter.lift(torch.cat([pixels, pixels]), torch.cat([conf, conf]), camera, fps=FPS)
    assert torch.equal(both[0].joints3d, both[1].joints3d)
    assert both[1].views is not None and torch.equal(both[1].views.rig.K4, camera.K4)
    two = Rig(*(torch.stack([x, x]) for x in (camera.size, camera.K4, camera.T_w2c)))
    with pytest.raises(ValueError, match="There are 2 rigs for 3 tracks"):
        lifter.lift(torch.cat([pixels] * 3), torch.cat([conf] * 3), two, fps=FPS)
