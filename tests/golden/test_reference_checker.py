"""Cameras, depth and the scene for the judge of reference motions against golden vectors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from hmr4d.geometry.published_rotations import axis_angle_to_matrix, rot6d_block_to_matrix
from hmr4d.reference_motion.checker import depth_levels
from hmr4d.reference_motion.checker_camera import automatic_camera, default_focal, opencv_transform
from hmr4d.reference_motion.gate_render import evaluation_arrays
from hmr4d.reference_motion.reference_file import ReferenceMotion
from hmr4d.reference_motion.video_camera import pinhole
from hmr4d.reference_motion.viewing_scene import ViewingScene
from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.view_camera import PinholeView
from tests.golden.vectors import assert_close, golden_file

FOLDER = "reference_motion"
DEPTH = 1e-4  # metres, away from the edges of faces; the README of the vectors asks for it


@cache
def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(golden_file(f"{FOLDER}/{name}.npz"), allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


@pytest.mark.parametrize(
    ("name", "up", "centered"), [("default", "z", True), ("nocenter", "z", False), ("identity", "y", True)]
)
def test_the_automatic_camera_is_the_published_one(name: str, up: str, centered: bool) -> None:
    data = arrays("checker")
    R, T = automatic_camera(data["joints"][:, 0], up=up, centered=centered)
    assert_close(f"R_{name}", R, data[f"R_{name}"])
    assert_close(f"T_{name}", T, data[f"T_{name}"], atol=1e-5)


def test_the_guessed_focal_length_is_the_published_one() -> None:
    data = arrays("checker")
    got = [default_focal(int(w), int(h)) for w, h in data["wh"]]
    assert_close("focal55", np.array(got), data["focal55"], rtol=1e-6)


def test_depth_becomes_the_published_gray_levels() -> None:
    data = arrays("checker")
    depth = data["depth"].reshape(data["depth_u8"].shape)
    hits = depth[depth >= 0]
    levels = depth_levels(depth, float(hits.min()), float(hits.max()))
    assert np.abs(levels.astype(int) - data["depth_u8"]).max() <= 1
    assert (levels[depth < 0] == 0).all()


def test_a_small_mesh_has_the_published_depth() -> None:
    data = arrays("checker")
    height, width = (int(side) for side in data["ras_size_hw"])
    R = rot6d_block_to_matrix(torch.from_numpy(data["ras_rot6d"]).double()).numpy()
    K = pinhole(float(data["ras_focal"]), width, height).double().numpy()
    view = PinholeView(K, opencv_transform(R, data["ras_T"]), (width, height))
    drawer = MeshRenderer(data["ras_faces"])
    vertices = data["ras_vertices"].reshape(-1, *data["ras_vertices"].shape[-2:])
    expected = data["ras_depth"].reshape(-1, height, width)
    got = np.stack([drawer.depth(v, view, both_sides=True, nearest=0.005, linear_in_picture=True) for v in vertices])
    got = np.where(np.isfinite(got), got, -1)
    off = np.abs(got - expected) > DEPTH
    edges = _edges(expected)
    assert (expected >= 0).any() and not (off & ~edges).any(), f"{(off & ~edges).sum()} pixels off"
    assert off.mean() < 0.01
    hits = expected[expected >= 0]
    levels = depth_levels(got, float(hits.min()), float(hits.max())).astype(int)
    assert np.abs(levels - data["ras_u8"].reshape(levels.shape))[~edges].max() <= 1


def _edges(depth: np.ndarray) -> np.ndarray:
    """Pixels (L, H, W) beside one that has no depth where they have one, or a depth of another surface."""
    edge = np.zeros(depth.shape, bool)
    for axis in (1, 2):
        for step in (-1, 1):
            edge |= np.abs(np.roll(depth, step, axis) - depth) > 0.2
    return edge


def rendered() -> tuple[dict[str, np.ndarray], ReferenceMotion]:
    data = arrays("render_prep")
    return data, ReferenceMotion(torch.from_numpy(data["motion"]), rest=torch.from_numpy(data["rest_joints"]))


def test_the_numbers_for_the_judge_are_the_published_ones() -> None:
    data, reference = rendered()
    got = evaluation_arrays(reference)
    assert_close("joints", got["joints"], data["joints"], atol=1e-5)
    assert_close("recovered joints", got["recovered_joints"], data["recovered_joints"], atol=1e-5)
    assert_close("transl", got["smpl_params"]["transl"], data["param_transl"], atol=1e-5)
    for name, expected in (("pose", data["pose"]), ("body_pose", data["param_body_pose"].reshape(-1, 21, 3))):
        value = got["pose"] if name == "pose" else got["smpl_params"]["body_pose"].reshape(-1, 21, 3)
        matrices = (axis_angle_to_matrix(torch.as_tensor(angles).double()) for angles in (value, expected))
        assert_close(name, *matrices, atol=2e-5)


def test_the_scene_for_the_judge_is_the_published_one() -> None:
    data, _ = rendered()
    scene = ViewingScene.of(data["vertices"], data["joints"][0, 0])
    assert_close("camera", scene.camera_pose, data["camera_pose"], atol=1e-5)
    assert_close("low", scene.low, data["centred_vertices_min"], atol=1e-5)
    assert_close("high", scene.high, data["centred_vertices_max"], atol=1e-5)
    assert_close("frame 0", data["vertices"][0] + scene.offset, data["frame0_vertices"], atol=1e-5)
    assert_close("ground", scene.ground[:, 1], np.full(4, data["ground_pose"][1, 3]), atol=1e-5)
    width, height = (int(side) for side in data["size"])
    view = scene.view((width, height))
    assert_close("field of view", 2 * np.arctan(height / 2 / view.K[1, 1]), data["yfov"], atol=1e-6)
