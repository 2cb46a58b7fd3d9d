"""Meshes for Wis3D: tubes around bones, images before their cameras, files that the real server shows in Chromium."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.cameras import orbit_camera, world_to_camera
from hmr4d.representation.root_velocity import from_root_velocity
from hmr4d.representation.views import OrthographicViews
from hmr4d.visualization.wis3d_scene import (
    BLUE,
    TUBE_RADIUS,
    Figure,
    fill,
    motion_figures,
    points_before_cameras,
    safe_name,
    sequence_name,
    shaded,
    tube_faces,
    tube_vertices,
    write_sequence,
)
from tests.methods.motion2to3.tiny import tiny_pipeline
from tests.motions import as_motion
from tests.visualization.browser import Browser, find_chromium
from tests.visualization.conftest import walking_joints

SERVER = shutil.which("wis3d", path=str(Path(sys.executable).parent))
SEQUENCE = sequence_name(0, "a [50%] #1 & b?")
SET_FRAME = """(frame => {
  const box = document.querySelector("input.ms-TextField-field");
  box.focus();
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(box, frame);
  box.dispatchEvent(new Event("input", { bubbles: true }));
  box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", keyCode: 13, bubbles: true }));
  box.blur();
})"""


def cameras(num_views: int = 4) -> torch.Tensor:
    azimuth = 0.3 + torch.arange(num_views) * (2 * torch.pi / num_views)
    return orbit_camera(azimuth, torch.tensor(0.1), torch.tensor(4.5))


def test_tubes_lie_around_their_bones() -> None:
    joints3d = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0)).numpy()
    joints3d[0, 1] = joints3d[0, 0] + (0, 0.7, 0)  # straight up
    joints3d[1, 3] = joints3d[1, 2]  # no length
    bones = [(0, 1), (2, 3)]
    vertices, normals = tube_vertices(joints3d, bones)
    faces = tube_faces(len(bones))
    assert np.isfinite(vertices).all() and len(np.unique(faces)) == vertices.shape[1]
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0)
    for frame, bone in ((0, 0), (1, 0), (2, 1)):
        a, b = joints3d[frame, list(bones[bone])]
        mine = vertices[frame].reshape(len(bones), -1, 3)[bone]
        share = np.clip((mine - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        np.testing.assert_allclose(np.linalg.norm(mine - a - share[:, None] * (b - a), axis=-1), TUBE_RADIUS, atol=1e-6)
        corners = vertices[frame][faces.reshape(len(bones), -1, 3)[bone]]
        outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        middle = corners.mean(1)
        nearest = a + np.clip((middle - a) @ (b - a) / ((b - a) @ (b - a)), 0.05, 0.95)[:, None] * (b - a)
        assert ((middle - nearest) * outward).sum(-1).min() > 0  # seen from outside


def test_shading_keeps_the_hue() -> None:
    normals = np.array([[0.0, 1, 0], [0, -1, 0], [1, 0, 0]])
    bright, dark, _ = shaded(normals, np.array([(255.0, 0, 255)] * 3)).astype(int)
    assert bright[1] == dark[1] == 0 and bright[0] == bright[2] > dark[0] == dark[2] > 60


def test_orthographic_views_are_placed_in_front_of_their_cameras() -> None:
    T_w2c = cameras()
    local = torch.from_numpy(walking_joints(5))
    local = local - local[:, :1]
    joints2d = OrthographicViews(T_w2c[None]).reproject(local[None])[0]
    points = points_before_cameras(joints2d, T_w2c, is_perspective=False)
    seen = world_to_camera(points.flatten(1, 2), T_w2c).unflatten(1, points.shape[1:3])
    torch.testing.assert_close(seen[..., :2], joints2d, atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[..., 2], torch.full(seen.shape[:-1], 0.25 * 4.5))
    head, foot = SMPL22.indices("head", "left_foot")
    assert (points[..., head, 1] - points[..., foot, 1]).min() > 1.0  # upright, not upside down


def test_pinhole_views_lie_on_their_rays() -> None:
    """At half the distance; one box unit is 100 of 224 pixels from the middle, the focal length 316.78."""
    T_w2c = cameras(2)
    joints2d = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0]]).expand(2, 1, 3, 2)
    points = points_before_cameras(joints2d, T_w2c, is_perspective=True)
    seen = world_to_camera(points.flatten(1, 2), T_w2c)
    reach = 100 / 316.78 * 2.25
    wanted = torch.tensor([[0, 0, 2.25], [reach, 0, 2.25], [0, -reach, 2.25]])
    torch.testing.assert_close(seen, wanted.expand(2, 3, 3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("consistency", [False, True])
def test_samples_contain_their_cameras(consistency: bool) -> None:
    """What the cameras see, lifted, is the motion before it is placed, whatever batch it was drawn in."""
    pipeline = tiny_pipeline(height="none", consistency=consistency)
    output = pipeline.sample(["b", "a", "c"], seconds=[1.5, 1.0, 1.2], seed=[5, 6, 7], max_tokens=100)
    for row in range(3):
        length, T_w2c = int(output.lengths[row]), output.extras["T_w2c"][row]
        points2d = torch.cat([output.joints2d, output.extras["next_root2d"]], -2)[row : row + 1, :, :length]
        lifted = OrthographicViews(T_w2c[None]).lift(points2d)
        raw = output.extras["camera_joints3d"][row, :length]
        torch.testing.assert_close(from_root_velocity(lifted)[0], raw, atol=1e-4, rtol=1e-4)
        spread = raw - raw[:, :1], output[row].joints3d - output[row].joints3d[:, :1]
        torch.testing.assert_close(*(s[..., 1] for s in spread), atol=1e-4, rtol=1e-4)  # turned about the vertical
    assert output.extras["is_perspective"] is False


def test_names_of_figures_and_sequences() -> None:
    assert sequence_name(7, "a person walks forward") == "007_a person walks forwa"
    assert sequence_name(1234, "") == "1234__"
    assert safe_name("01ours_pred ::: and/or? [50% #1 & é]") == "01ours_pred ::: and_or_ _50% #1 & é_"
    assert len(safe_name("é" * 300).encode()) == 120


def test_frames_are_cut_or_the_last_one_stays() -> None:
    joints3d = torch.arange(4.0)[:, None, None].expand(4, 22, 3)
    assert fill(joints3d, 3)[:, 0, 0].tolist() == [0, 1, 2]
    assert fill(joints3d, 6)[:, 0, 0].tolist() == [0, 1, 2, 3, 3, 3]


def test_motion_that_is_not_finite_is_named() -> None:
    joints3d = torch.from_numpy(walking_joints(3)).clone()
    joints3d[2, 15] = torch.nan
    with pytest.raises(ValueError, match=r"01ours_pred ::: walk: .*not finite at frame 2, joint 15"):
        motion_figures(as_motion(joints3d, text="walk"), name="ours", num_frames=5)


def test_files_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("wis3d", reason="the package wis3d is missing")
    trimesh = pytest.importorskip("trimesh")
    walk = torch.from_numpy(walking_joints(3))
    write_sequence(tmp_path, "a", [Figure.plain("old", walk, SMPL22, BLUE)], SMPL22)
    folder = write_sequence(tmp_path, "a", [Figure.by_chain("02pred", walk[:2], SMPL22)], SMPL22)
    assert folder == tmp_path / "a" and [p.name for p in tmp_path.iterdir()] == ["a"]
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.ply")) == [
        f"0000{i}/meshes/02pred.ply" for i in (0, 1)
    ]
    mesh = trimesh.load(folder / "00001/meshes/02pred.ply", process=False)
    bones = [pair for _, chain in SMPL22.chains for pair in zip(chain[:-1], chain[1:], strict=True)]
    vertices, _ = tube_vertices(walk[1:2].numpy(), bones)
    np.testing.assert_allclose(mesh.vertices, vertices[0], atol=1e-5)  # the axes are kept
    on = (mesh.visual.vertex_colors[:, :3].reshape(len(bones), -1, 3) > 0).all(1).tolist()
    right_leg, left_leg, spine, right_arm, left_arm = on[0], on[4], on[8], on[13], on[17]
    assert (right_leg, left_leg, spine) == ([True, False, False], [False, True, False], [False, False, True])
    assert (right_arm, left_arm) == ([False, True, True], [True, False, True])


def test_a_failed_sequence_leaves_no_files(tmp_path: Path) -> None:
    pytest.importorskip("wis3d", reason="the package wis3d is missing")
    good = Figure.plain("a", torch.from_numpy(walking_joints(2)), SMPL22, BLUE)
    bad = Figure("b", good.joints3d, good.colors[:2])  # two colors for five chains
    with pytest.raises(ValueError, match="zip"):
        write_sequence(tmp_path, "s", [good, bad], SMPL22)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A Wis3D server on a folder with a figure that walks from the left to the right."""
    walk = torch.from_numpy(walking_joints(30, speed=2.0)) @ torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    walk = walk - torch.tensor([1.5, 0, 0])
    figures = motion_figures(as_motion(walk, text="to the side"), name="ours", num_frames=30)
    write_sequence(tmp_path / "wis3d_vis", SEQUENCE, figures, SMPL22)
    server = subprocess.Popen(
        [str(SERVER), "--vis_dir", str(tmp_path / "wis3d_vis"), "--host", "127.0.0.1", "--port", "19390"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert server.stdout is not None
    yield server.stdout.readline().split()[-1]
    server.terminate()
    server.wait(timeout=20)


def blue_box(png: bytes) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the blue pixels of the scene, without the colored signs around it."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)[70:600, 310:960]
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    blue = (blue - red > 40) & (abs(red - green) < 12)  # the page's own blue has green in it
    rows, columns = np.nonzero(blue)
    return (columns.min(), rows.min(), columns.max(), rows.max()) if len(rows) else None


@pytest.mark.assets
@pytest.mark.skipif(not find_chromium(), reason="no Chromium")
@pytest.mark.skipif(not SERVER, reason="the package wis3d is missing")
def test_the_server_shows_the_figure_upright_and_moving(address: str) -> None:
    with Browser(str(find_chromium()), 90) as browser:
        size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.call("Page.navigate", url=f"{address}/?tab=3d&sequence={quote(SEQUENCE)}")
        boxes = []
        for frame in (0, 29):
            while not browser.evaluate("!!document.querySelector('input.ms-TextField-field')"):
                time.sleep(0.1)
            while (box := blue_box(browser.screenshot())) is None or (boxes and box == boxes[0]):
                browser.evaluate(f"{SET_FRAME}('{frame}')")  # again: the page may not have been listening
                time.sleep(0.5)
            boxes.append(box)
        for left, top, right, bottom in boxes:
            assert bottom - top > 1.3 * (right - left)
        assert boxes[1][0] > boxes[0][2]  # from left to right
        assert abs(boxes[0][3] - boxes[1][3]) < 8  # on the same floor
        assert "01ours_pred ::: to the side" in browser.evaluate("document.body.innerText")
