"""The overlay: limbs where the joints are, distances told, missing joints left out, videos of the right length."""

from __future__ import annotations

from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.visualization.overlay import Overlay, OverlayPainter, write_overlay_sheet, write_overlay_video

K4 = np.array([1000.0, 1000, 640, 360])
LEVEL = np.array([[1.0, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, -1, 0], [0, 0, 0, 1]])


def seen(walk: np.ndarray) -> np.ndarray:
    """(L, 22, 2) pixels of the walk, six meters ahead."""
    points = (walk - (0, 0, 6)) @ LEVEL[:3, :3].T + LEVEL[:3, 3]
    return points[..., :2] / points[..., 2:] * K4[:2] + K4[2:]


def test_errors_are_mean_distances_over_what_was_observed(walk: np.ndarray) -> None:
    pixels = seen(walk)
    conf = np.ones(pixels.shape[:2])
    conf[1, 3:], conf[2] = 0, 0
    shifted = pixels + (3, 4)
    shifted[1, 3:] += 100  # not observed, so it does not count
    errors = Overlay(pixels, shifted, conf, SMPL22).errors
    np.testing.assert_allclose(errors[[0, 1]], 5)
    assert np.isnan(errors[2])


def test_limbs_and_rings_are_where_the_joints_are(walk: np.ndarray) -> None:
    pixels = seen(walk)
    painter = OverlayPainter((1280, 720), K4, LEVEL)
    assert painter.size == (960, 540) and painter.scale == 0.75
    empty = np.asarray(painter.draw([], 0)).astype(int)
    drawn = np.asarray(painter.draw([Overlay(pixels, pixels, np.zeros(pixels.shape[:2]), SMPL22)], 0)).astype(int)
    rows, columns = np.nonzero(np.abs(drawn - empty).sum(-1) > 60)
    spots = pixels[0] * painter.scale
    np.testing.assert_allclose([columns.min(), rows.min()], spots.min(0), atol=3)
    np.testing.assert_allclose([columns.max(), rows.max()], spots.max(0), atol=3)
    observed = np.asarray(painter.draw([Overlay(pixels, pixels + 20, np.ones(pixels.shape[:2]), SMPL22)], 0)).astype(
        int
    )
    assert (observed != drawn).any(-1).sum() > 200


def test_invalid_points_are_not_drawn(walk: np.ndarray) -> None:
    pixels = seen(walk)[:, :17]
    pixels[:, 5:] = np.nan
    pixels[:, 4] = 1e9
    painter = OverlayPainter((640, 480), K4 / 2, LEVEL)
    overlay = Overlay(pixels, np.zeros_like(pixels), np.zeros(pixels.shape[:2]), COCO17)
    assert painter.draw([overlay], 0).size == (640, 480)


def test_sheet_and_video(tmp_path: Path, walk: np.ndarray) -> None:
    pixels = seen(walk)
    people = [Overlay(pixels, pixels + 3, np.ones(pixels.shape[:2]), SMPL22)]
    painter = OverlayPainter((1280, 720), K4, LEVEL)
    boxes = painter.surroundings(people)
    assert boxes.shape == (len(walk), 4)
    for joints2d, (left, top, right, bottom) in zip(pixels * painter.scale, boxes, strict=True):
        spots = joints2d[(joints2d <= (960, 540)).all(-1)]
        assert (spots >= (left - 1, top - 1)).all() and (spots <= (right + 1, bottom + 1)).all()
        assert abs((right - left) / (bottom - top) - 16 / 9) < 0.05 and right - left < 960
    away = np.full_like(pixels, -50.0)  # nobody in the picture: all of it
    nobody = [Overlay(away, away, np.zeros(away.shape[:2]), SMPL22)]
    assert (painter.surroundings(nobody) == (0, 0, 960, 540)).all()
    write_overlay_sheet(tmp_path / "sheet.png", painter, people)
    assert Image.open(tmp_path / "sheet.png").size == (1440, 540)
    pictures = iter([Image.new("RGB", (1280, 720), (200, 30, 30))] * 4)
    write_overlay_video(tmp_path / "video.mp4", painter, people, fps=20, pictures=pictures)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "video.mp4"))
    assert next(reader)["size"] == (960, 540)  # type: ignore[index]
    frames = [np.frombuffer(frame, np.uint8).reshape(540, 960, 3) for frame in reader]
    assert len(frames) == len(walk)
    assert frames[0][500:, :, 0].mean() > 180 and frames[0][500:, :, 1].mean() < 100  # over the picture
    assert frames[10][500:, :, 1].mean() > 180  # the pictures ended; on its own floor
