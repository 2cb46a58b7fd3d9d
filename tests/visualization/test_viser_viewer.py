"""Motions shown by viser: what the scene holds at a time, and what a real browser sees of it."""

from __future__ import annotations

import io
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.skinning import drive_body
from hmr4d.visualization.figure_style import figure_style
from hmr4d.visualization.shown_motions import ShownMotion
from hmr4d.visualization.viser_viewer import (
    Clock,
    MotionScene,
    Viewer,
    save_html,
    side_by_side,
    start_server,
    stop_server,
)
from tests.motions import as_motion
from tests.visualization.browser import Browser, find_chromium
from tests.visualization.conftest import walking_joints


def shown(num_frames: int = 11, fps: float = 20.0, *, is_smpl22: bool = True) -> ShownMotion:
    style = figure_style(SMPL22)
    skeleton = SMPL22 if is_smpl22 else replace(SMPL22, name="other")
    motion = as_motion(walking_joints(num_frames, fps), fps=fps, skeleton=skeleton, text=f"{fps:g}")
    return ShownMotion("a", motion, style.bones, style.bone_sides)


@pytest.fixture
def server() -> Iterator[Any]:
    pytest.importorskip("viser", reason="the package viser is missing")
    server = start_server("127.0.0.1", 0)
    yield server
    stop_server(server)


def test_clock_shows_the_last_frame_and_restarts() -> None:
    clock = Clock(1.0)
    clock.advance(0.7)
    assert clock.now == pytest.approx(0.7)
    clock.advance(0.7)
    assert clock.now == 1.0
    clock.advance(0.1)
    assert clock.now == 0.0
    clock.speed = 0.5
    clock.advance(0.7)
    assert clock.now == pytest.approx(0.35)
    clock.is_playing = False
    clock.advance(0.7)
    assert clock.now == pytest.approx(0.35)
    still = Clock(0.0)
    still.advance(1.0)
    assert still.now == 0.0


def test_motions_in_a_row_do_not_touch() -> None:
    motions = [shown(), shown(5), shown(30)]
    offsets = side_by_side(motions)
    spans = [(m.joints3d[..., 0] + o[0]).min() for m, o in zip(motions, offsets, strict=True)]
    ends = [(m.joints3d[..., 0] + o[0]).max() for m, o in zip(motions, offsets, strict=True)]
    assert all(left - right == pytest.approx(0.6) for left, right in zip(spans[1:], ends[:-1], strict=True))
    assert spans[0] == pytest.approx(-ends[-1])
    assert (side_by_side(motions[:1]) == 0).all()


def test_scene_follows_the_time(server: Any) -> None:
    """Motions of different rates are where they are at that time; the shorter one stays in its last pose."""
    slow, fast = shown(11, 10.0), shown(11, 40.0)
    scene = MotionScene(server, [slow, fast])
    scene.show(0.2)
    for figure, frame in zip(scene.figures, (2, 8), strict=True):
        joints3d = figure.motion.joints3d[frame]
        np.testing.assert_allclose(figure._lines.points, joints3d[list(SMPL22.bones)].reshape(-1, 2, 3))
        posed = drive_body(figure.motion.motion)
        world, joints = posed.body.joint_transforms(posed.rotations, posed.translation)
        np.testing.assert_allclose([b.position for b in figure._mesh.bones], joints[frame], atol=1e-5)
        turns = np.array([quat_to_matrix(np.asarray(b.wxyz)) for b in figure._mesh.bones])
        np.testing.assert_allclose(turns, world[frame], atol=1e-5)
        assert len(np.unique(figure._mesh.skin_weights.sum(1).round(4))) == 1  # sums to one: nothing trails
    scene.show(0.9)
    np.testing.assert_allclose(scene.figures[1]._lines.points[0], fast.joints3d[-1, [0, 1]])
    scene.arrange(apart=True, in_place=True)
    root = scene.figures[0]._node.position + slow.joints3d[9, 0]
    np.testing.assert_allclose(root[[0, 2]], (scene.offsets[0] + slow.joints3d[0, 0])[[0, 2]], atol=1e-6)


def quat_to_matrix(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_switches_pages_and_playing(server: Any) -> None:
    viewer = Viewer(server, [shown(), shown(is_smpl22=False), shown(21)], at_once=2)
    first, other = viewer.scene.figures
    assert first._mesh.visible and not first._lines.visible
    assert other._mesh is None and other._lines.visible  # no body for other skeletons: bones always
    viewer.tick(0.26)
    assert viewer.frame.value == "5 of 10, 20 a second" and viewer.timeline.value == pytest.approx(0.26)
    viewer.set_playing(False)
    viewer.tick(0.2)
    assert viewer.clock.now == pytest.approx(0.26) and viewer.play.label == "Play"
    viewer.set_playing(True)
    viewer.timeline.value = 0.4  # as someone does who drags it
    viewer.tick(0.2)
    assert viewer.clock.now == pytest.approx(0.4) and not viewer.clock.is_playing
    np.testing.assert_allclose(first._lines.points[0], shown().joints3d[8, [0, 1]])
    viewer.bones.value, viewer.mesh.value, viewer.speed.value = True, False, 2.0
    viewer.tick(0.0)
    assert first._lines.visible and not first._mesh.visible and viewer.clock.speed == 2.0
    viewer.chosen.value = 2
    viewer.tick(0.0)
    assert viewer.page == 1 and len(viewer.scene.figures) == 1 and viewer.scene.seconds == pytest.approx(1.0)


def test_one_frame_is_enough(server: Any) -> None:
    viewer = Viewer(server, [shown(1)])
    viewer.tick(0.5)
    assert viewer.frame.value.startswith("0 of 0")


def test_a_port_that_is_taken_is_named() -> None:
    pytest.importorskip("viser", reason="the package viser is missing")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"Port {port} on 127.0.0.1 cannot be used .*--port"):
            start_server("127.0.0.1", port)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError, match=re.escape("pip install -r requirements_render.txt")):
        start_server("127.0.0.1", 0)


def picture(browser: Browser) -> np.ndarray:
    """The middle of the page, without the controls."""
    image = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    return np.asarray(image).astype(int)[150:500, 200:640]


def open_page(browser: Browser, address: str) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=960, height=640, deviceScaleFactor=1, mobile=False)
    browser.call("Page.navigate", url=address)
    while not browser.evaluate("!!document.querySelector('canvas')"):
        time.sleep(0.1)


def settled(browser: Browser, *, unlike: np.ndarray | None = None) -> np.ndarray:
    """The picture once it has a figure in it and stands still."""
    before = picture(browser)
    while True:
        time.sleep(0.3)
        now = picture(browser)
        has_figure = (np.ptp(now, axis=-1) > 40).sum() > 200
        moved = unlike is None or (abs(now - unlike).max(-1) > 40).sum() > 200
        if has_figure and moved and abs(now - before).max() < 12:
            return now
        before = now


@pytest.mark.assets
@pytest.mark.skipif(not find_chromium(), reason="no Chromium")
@pytest.mark.parametrize("mesh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_browser_sees_the_motion_move(mesh: bool, server: Any) -> None:
    viewer = Viewer(server, [shown(41, is_smpl22=mesh)])
    viewer.set_playing(False)
    with Browser(str(find_chromium()), 90) as browser:
        open_page(browser, f"http://127.0.0.1:{server.get_port()}")
        start = settled(browser)
        viewer.seek(2.0)
        end = settled(browser, unlike=start)
        viewer.seek(0.0)
        again = settled(browser, unlike=end)
        back, away = ((abs(one - start).max(-1) > 40).sum() for one in (again, end))
        assert back < away / 3  # the picture gets finer as time goes by, so that some edges differ
        assert not browser.errors


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.skipif(not find_chromium(), reason="no Chromium")
def test_recording_opens_from_disk(tmp_path: Path) -> None:
    pytest.importorskip("viser", reason="the package viser is missing")
    save_html(tmp_path / "a.html", [shown(11)], mesh=False)
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    with Browser(str(find_chromium()), 90) as browser:
        open_page(browser, (tmp_path / "a.html").as_uri())
        while (np.ptp(picture(browser), axis=-1) > 40).sum() < 30:
            time.sleep(0.2)
        assert not browser.errors
        assert not [r for r in browser.requests if not r.startswith(("file:", "data:", "blob:"))]
