"""Ground pointmaps, canonical rigs, the codec of view tokens and triangulation against independent computations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.cameras import invert_rigid, rigid
from hmr4d.geometry.ground_pointmap import POINTMAP_UNIT, ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_angles, camera_condition, camera_pose, canonicalise
from hmr4d.geometry.triangulation import triangulate_perspective, triangulate_robust
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from tests.golden.vectors import assert_close, golden_file, golden_root

FOLDER = "mocap_metrics"
TOLERANCE = 1e-8  # met by an independent float64 implementation
NEAR = 100.0  # metres; beyond, next to the horizon, rounding of the ray grows with the distance


def files(pattern: str) -> list[str]:
    root = golden_root()
    return sorted(p.name for p in (root / FOLDER).glob(pattern)) if root else []


def tensors(name: str) -> dict[str, Tensor]:
    with np.load(golden_file(f"{FOLDER}/{name}"), allow_pickle=False) as data:
        return {key: torch.from_numpy(np.asarray(data[key])) for key in data.files}


def image_size(data: dict[str, Tensor]) -> Tensor:
    return torch.stack([data["W"], data["H"]]).double()


def assert_same_angles(what: str, got: Tensor, expected: Tensor) -> None:
    """Equal but for whole turns."""
    turned = (got - expected + torch.pi) % (2 * torch.pi) - torch.pi
    assert_close(what, turned, torch.zeros_like(turned), TOLERANCE)


def parametrized(argument: str, pattern: str) -> Any:
    """Over the files that are there; one skipped test that names the pattern where there are none."""
    found = files(pattern)
    missing = pytest.param(pattern, marks=pytest.mark.skip(reason=f"no golden vectors {FOLDER}/{pattern}"))
    return pytest.mark.parametrize(argument, found or [missing])


@parametrized("name", "pointmap_*.npz")
def test_ground_pointmaps(name: str) -> None:
    data = tensors(name)
    T_w2c = rigid(data["R_w2c"], data["t_w2c"])
    size, grid = image_size(data), (data["u"].shape[0], data["u"].shape[1])
    rig = Rig(size[None], data["K4"][None], T_w2c[None])
    pointmap = ground_pointmap(rig, grid, max_range=math.inf)[0]
    points, valid = POINTMAP_UNIT * pointmap[:3].movedim(0, -1), pointmap[3] == 1
    expected = data["pointmap"]
    assert torch.equal(valid, data["valid"])
    assert (points[~valid] == 0).all()
    near = valid & (expected.norm(dim=-1) < NEAR)
    assert_close(f"{name} points", points[near], expected[near], TOLERANCE, 1e-9)
    assert_close(f"{name} far points", points[valid & ~near], expected[valid & ~near], rtol=1e-5)


@parametrized("name", "pointmap_*.npz")
def test_poses_and_angles_of_pointmap_cameras(name: str) -> None:
    data = tensors(name)
    T_w2c = rigid(data["R_w2c"], data["t_w2c"])
    made = camera_pose(data["pitch"], data["roll"], data["yaw"], data["center"])
    assert_close(f"{name} pose of angles", made, T_w2c, TOLERANCE)
    assert_close(f"{name} centre", invert_rigid(T_w2c)[:3, 3], data["center"], TOLERANCE)
    if data["pitch"].cos().abs() > 1e-6:  # straight down, roll and yaw are a convention
        got = torch.stack(camera_angles(data["R_w2c"]))
        assert_same_angles(f"{name} angles", got, torch.stack([data["pitch"], data["roll"], data["yaw"]]))


def test_canonical_rig() -> None:
    data = tensors("canonical_rig.npz")
    T_w2c, T_cal2world = canonicalise(rigid(data["in_R"], data["in_t"]), data["in_plane_normal_up"], data["in_plane_d"])
    assert_close("canonical rotations", T_w2c[:, :3, :3], data["out_R"], TOLERANCE)
    assert_close("canonical translations", T_w2c[:, :3, 3], data["out_t"], TOLERANCE)
    expected = rigid(data["out_T_cal2world_R"], data["out_T_cal2world_t"])
    assert_close("calibration to world", T_cal2world, expected, TOLERANCE)
    views = T_w2c.shape[0]
    rig = Rig(torch.ones(views, 2).double(), torch.ones(views, 4).double(), T_w2c)
    condition = camera_condition(rig)[:, 4:]
    assert_same_angles("pitch, roll", condition[:, :2], data["out_cond"][:, :2])
    assert_close("height", condition[:, 2], data["out_cond"][:, 2], TOLERANCE)
    assert_same_angles("yaw", camera_angles(T_w2c[:, :3, :3])[2], data["out_yaw"])


@parametrized("name", "codec_*.npz")
def test_codec(name: str) -> None:
    data = tensors(name)
    size, pixels = image_size(data), data["keypoints_px"]
    box = "tight" if "tight" in name else "square"
    assert int(data["root_index"]) == SMPL22.root_joints[0]
    codec = BboxPose2DCodec(SMPL22, box=box, margin=float(data["margin"]))
    x = codec.encode(pixels, size)
    assert_close(f"{box} local points", codec.local_points(x), data["out_local"], TOLERANCE)
    assert_close(f"{box} offset", codec.offset(x), data["out_offset"][:, 0], TOLERANCE)
    assert_close(f"{box} scale", codec.scale(x), data["out_scale"][:, 0], TOLERANCE)
    assert_close("codec, there and back", codec.decode(x, size), pixels, 1e-9)
    assert_close("normalised points", 2 * codec.decode(x, size) / size - 1, data["out_global_norm"], TOLERANCE)


def test_triangulation() -> None:
    data = tensors("triangulation.npz")
    T_w2c, noisy = rigid(data["R_w2c"], data["t_w2c"]), data["xy_noisy"]
    homogeneous = triangulate_perspective(noisy, T_w2c)
    assert_close("homogeneous triangulation", homogeneous, data["out_homogeneous_svd"], TOLERANCE)
    equal = torch.ones(noisy.shape[:-1]).double()
    linear = triangulate_robust(noisy, T_w2c, equal, rounds=0)
    assert_close("linear triangulation", linear.points, data["out_linear_lstsq"], TOLERANCE)
    weights = (data["view_row_weight"] ** 2)[:, None].expand_as(equal)
    weighted = triangulate_robust(noisy, T_w2c, weights, rounds=0)
    assert_close("weighted triangulation", weighted.points, data["out_linear_lstsq_rowweighted"], TOLERANCE)
    clean = triangulate_robust(data["xy_clean"], T_w2c, equal)
    assert_close("triangulation of clean images", clean.points, data["points_gt"], TOLERANCE)
    assert clean.ok.all()
