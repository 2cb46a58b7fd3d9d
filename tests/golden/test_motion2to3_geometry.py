"""Cameras, projection, boxes and triangulation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmr4d.geometry.cameras import (
    camera_position_spherical,
    invert_rigid,
    orbit_camera,
    project_orthographic,
    project_pinhole,
    remove_intrinsics,
    square_intrinsics,
    world_to_camera,
)
from hmr4d.geometry.triangulation import triangulate_orthographic, triangulate_perspective
from hmr4d.representation.bbox import bbox, largest_box, normalize_points
from hmr4d.representation.views import PATCH
from tests.golden.vectors import PIXEL_ROUNDING, assert_close, tensors


@pytest.fixture(scope="module")
def data() -> dict[str, Tensor]:
    return tensors("camera_projection.npz")


def test_orbit_cameras(data: dict[str, Tensor]) -> None:
    T_w2c = orbit_camera(data["angles"], data["elevation"], data["distance"])
    assert_close("camera T_w2c", T_w2c, data["T_w2c"])
    assert_close("camera to world", invert_rigid(T_w2c), data["cam_mat_c2w"])
    below = orbit_camera(data["angles"], data["elevation_neg"], data["distance"])
    assert_close("camera to world, seen from below", invert_rigid(below), data["cam_mat_c2w_neg"])


def test_spherical_positions(data: dict[str, Tensor]) -> None:
    got = torch.stack(camera_position_spherical(data["T_w2c"]), -1)
    assert_close("camera polar, azimuth, radius", got, data["spherical_theta_az_r"])


def test_projection(data: dict[str, Tensor]) -> None:
    points_c = world_to_camera(data["points_w"], data["T_w2c"])
    K = square_intrinsics(PATCH)
    assert_close("intrinsics", K, data["K"])
    assert_close("points in the camera", points_c, data["points_c"])
    ortho, persp = project_orthographic(points_c, K), project_pinhole(points_c, K)
    assert_close("pixels, orthographic", ortho, data["i_p2d_ortho"], rtol=PIXEL_ROUNDING)
    assert_close("pixels, perspective", persp, data["i_p2d_persp"], rtol=PIXEL_ROUNDING)
    assert_close("image plane, orthographic", remove_intrinsics(ortho, K), data["c_p2d_ortho"])
    assert_close("image plane, perspective", remove_intrinsics(persp, K), data["c_p2d_persp"])


def test_box_of_one_view(data: dict[str, Tensor]) -> None:
    track = data["kp"][0]
    for name, per_frame in (("notmoving", False), ("moving", True)):
        box = bbox(track, per_frame=per_frame)
        normalized = normalize_points(track, box)
        assert_close(f"box {name}", box, data[f"bbox_single_{name}"])
        assert_close(f"normalised points {name}", normalized, data[f"kp_norm_single_{name}"])
    patch = (normalize_points(track, bbox(track)) + 1.0) * (PATCH / 2)
    assert_close("points in the patch", patch, data["kp_patch_single_notmoving"])


def test_box_of_several_views(data: dict[str, Tensor]) -> None:
    kp = data["kp"]
    drawn = bbox(kp[int(data["mv_rand_view"])])
    largest = largest_box(bbox(kp))
    scaled = torch.cat([largest[:, :2], torch.full_like(largest[:, 2:], 0.8)], -1)
    for name, box in (("rand", drawn), ("max", largest), ("scale08", scaled)):
        assert_close(f"box of views {name}", box, data[f"bbox_mv_{name}"])
        assert_close(f"normalised views {name}", normalize_points(kp, box), data[f"kp_norm_mv_{name}"])


def test_triangulation() -> None:
    data = tensors("triangulation.npz")
    ortho = triangulate_orthographic(data["c_p2d_ortho"], data["T_w2c"])
    assert_close("triangulation, orthographic", ortho, data["w_p3d_ortho"])
    persp = triangulate_perspective(data["c_p2d_persp"], data["T_w2c"])
    assert_close("triangulation, perspective", persp, data["w_p3d_persp"])
