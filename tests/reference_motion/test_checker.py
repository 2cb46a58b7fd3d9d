"""Checking videos: every camera that a file may or may not have, and the body where the camera saw the person."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from hmr4d.detection.video_pictures import read_video_metadata, video_pictures
from hmr4d.motion.motion import Motion
from hmr4d.motion.procedural import synthetic_joints
from hmr4d.motion.skinning import drive_body
from hmr4d.reference_motion.checker import CheckOptions, depth_levels, depth_pictures, overlay_pictures, write_checks
from hmr4d.reference_motion.checker_camera import at_size, checking_views
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.convert import convert
from hmr4d.reference_motion.reference_file import ReferenceMotion, load_reference, save_reference
from hmr4d.reference_motion.video_camera import VideoCamera, pinhole
from hmr4d.visualization.video_file import write_mp4

SIZE = (160, 96)


@cache
def reference(*, moving: bool = False) -> ReferenceMotion:
    """A person four meters in front of a level camera; it moves sideways if `moving`."""
    joints = torch.from_numpy(synthetic_joints("walk", 8, np.random.default_rng(0)).astype(np.float32))
    T = torch.eye(4).repeat(8, 1, 1)
    T[:, :3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    T[:, :3, 3] = torch.tensor([0.2, 1.0, 4.0])
    T[:, 0, 3] += 0.05 * torch.arange(8) * moving
    return convert(ReferenceClip(Motion(joints, 20.0), VideoCamera(T, pinhole(120.0, *SIZE), SIZE)), fps=None)


def where_seen(pictures: Iterator[np.ndarray]) -> np.ndarray:
    """(L, 2) middle column and row of what is not black."""
    return np.array([np.argwhere(picture > 0).mean(0)[::-1] for picture in pictures])


@pytest.mark.parametrize("moving", [False, True])
def test_depth_is_seen_where_the_camera_of_the_file_saw_the_joints(moving: bool) -> None:
    known = reference(moving=moving)
    motion, camera = known.motion(), known.camera
    assert camera is not None and camera.K is not None
    views = checking_views(known, size=(1920, 1080))
    assert views[0].size == SIZE
    points = torch.einsum("lij,lkj->lki", camera.T_w2c[:, :3, :3], motion.joints3d) + camera.T_w2c[:, None, :3, 3]
    pixels = points @ camera.K.mT
    pixels = (pixels[..., :2] / pixels[..., 2:]).numpy()
    seen = where_seen(depth_pictures(drive_body(motion), views))
    assert np.abs(seen - pixels.mean(1)).max() < 4  # of 160; the mean of the joints is about that of the body


@pytest.mark.parametrize(
    ("case", "width"),
    [("camera", 160), ("identity", 96), ("no intrinsic", 96), ("no extrinsic", 96), ("bare", 96), ("extended", 96)],
)
def test_every_file_gets_a_camera_that_sees_the_person(tmp_path: Path, case: str, width: int) -> None:
    known = reference()
    content = {"motion": known.features, "extrinsic": known.extrinsic, "intrinsic": known.intrinsic}
    forms = {
        "camera": content,
        "identity": {**content, "intrinsic": torch.eye(3)},
        "bare": known.features,
        "no intrinsic": {k: v for k, v in content.items() if k != "intrinsic"},
        "no extrinsic": {k: v for k, v in content.items() if k != "extrinsic"},
        "extended": torch.cat([known.features, torch.zeros(len(known.features), 150)], 1),
    }
    torch.save(forms[case], tmp_path / "clip.x.pt")
    loaded = load_reference(tmp_path / "clip.x.pt")
    files = write_checks(loaded, tmp_path, "clip", CheckOptions(kinds=("depth",), size=(96, 96)))
    assert [file.name for file in files] == ["clip_depth.mp4"]
    pictures = [np.asarray(picture) for picture in video_pictures(files[0])]
    assert pictures[0].shape[1] == width and len(pictures) == len(known.features)
    assert all((picture > 60).any() for picture in pictures[-3:])  # she walks towards the camera: farthest is black


def test_an_overlay_follows_the_clock_of_the_video(tmp_path: Path) -> None:
    video = tmp_path / "original.mp4"
    levels = [20 * n for n in range(12)]
    write_mp4(video, (np.full((96, 160), level * 0x010101, np.uint32) for level in levels), fps=30, size=SIZE)
    for style in ("depth", "shaded"):
        options = CheckOptions(kinds=("overlay",), video=video, video_start=0.1, style=style)
        file = write_checks(reference(), tmp_path, style, options)[0]
        corners = [np.asarray(picture)[2, 2].mean() for picture in video_pictures(file)]
        shown = [levels[round((0.1 + n / 20) * 30 + 1e-6)] for n in range(len(corners))]
        expected = np.array(shown) / (2 if style == "depth" else 1)
        assert len(corners) == 6 and np.abs(corners - expected).max() < 6  # until the video ends
        assert read_video_metadata(file).fps == pytest.approx(20)


def test_an_overlay_is_half_image_and_half_depth() -> None:
    views = checking_views(reference(), size=SIZE)
    posed = drive_body(reference().motion())
    white = iter([np.full((96, 160, 3), 200, np.uint8)] * 2)
    pictures = list(overlay_pictures(posed, views, white, "depth"))
    depth = list(depth_pictures(posed, views))[:2]
    assert len(pictures) == 2
    for picture, gray in zip(pictures, depth, strict=True):
        assert np.array_equal(picture & 255, (200 + (gray & 255)) // 2)


def test_a_video_without_a_camera_in_the_file_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = reference()
    for file, words in (
        (replace(known, intrinsic=None), "focal length"),
        (replace(known, intrinsic=None, extrinsic=None), "no camera"),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            views = checking_views(file, size=(10, 10), video_size=(200, 100))
        assert words in caplog.text and views[0].size == (200, 100)


def test_odd_and_tiny_sizes_become_valid_video_sizes() -> None:
    views = checking_views(replace(reference(), intrinsic=None, extrinsic=None), size=(101, 33))
    assert at_size(views)[0].size == (194, 64) and at_size(views, 100)[0].size[0] <= 194
    assert all(side % 2 == 0 and side >= 64 for side in at_size(views, 64)[0].size)


def test_a_missing_or_short_video_is_reported_and_no_file_remains(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Video not found"):
        write_checks(reference(), tmp_path / "out", "a", CheckOptions(video=tmp_path / "no.mp4"))
    video = tmp_path / "original.mp4"
    write_mp4(video, iter([np.zeros((96, 160), np.uint32)]), fps=30, size=SIZE)
    with pytest.raises(ValueError, match="ends before"):
        write_checks(reference(), tmp_path / "out", "a", CheckOptions(video=video, video_start=5))
    assert not list(tmp_path.glob("out/*"))
    with pytest.raises(ValueError, match="requires the original video"):
        CheckOptions(kinds=("overlay",))


def test_an_invisible_person_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    known = reference()
    assert known.extrinsic is not None
    away = replace(known, extrinsic=known.extrinsic - torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 99.0]))
    with caplog.at_level(logging.WARNING):
        pictures = list(depth_pictures(drive_body(away.motion()), checking_views(away, size=SIZE)))
    assert not np.any(pictures) and "never sees" in caplog.text


def test_a_turntable_shows_the_figure_whole_from_all_sides(tmp_path: Path) -> None:
    save_reference(tmp_path / "a.pt", reference())
    file = write_checks(load_reference(tmp_path / "a.pt"), tmp_path, "a", CheckOptions(kinds=("turntable",)))[0]
    for picture in video_pictures(file):
        color = np.ptp(np.asarray(picture).astype(int), axis=-1) > 60  # limbs are colored, all else is gray
        rows = np.flatnonzero(color.any(1))
        assert color.any() and rows[0] > 0 and rows[-1] < color.shape[0] - 1
        assert not color[:, [0, -1]].any()


def test_flat_depth_gives_black_instead_of_a_division_by_zero() -> None:
    depth = np.array([[2.0, np.inf], [-1.0, 2.0]], np.float32)
    assert np.array_equal(depth_levels(depth, 2.0, 2.0), np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("size", [(1920, 1080), (600, 1080)])
def test_the_default_camera_shows_the_whole_person(size: tuple[int, int]) -> None:
    bare = replace(reference(), intrinsic=None, extrinsic=None)
    views = at_size(checking_views(bare, size=size), 120)
    body = np.concatenate([np.argwhere(picture > 0) for picture in depth_pictures(drive_body(bare.motion()), views)])
    assert body.min() > 0 and (body.max(0) < np.array(views[0].size[::-1]) - 1).all()
    assert np.ptp(body, axis=0).max() > 30


def test_a_mismatched_video_gives_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, frames, size in (("own", 8, SIZE), ("other", 1, (64, 96))):
        write_mp4(tmp_path / f"{name}.mp4", iter([np.zeros(size[::-1], np.uint32)] * frames), fps=20, size=size)
    write_checks(reference(), tmp_path, "x", CheckOptions(kinds=("overlay",), video=tmp_path / "own.mp4"))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    write_checks(reference(), tmp_path, "x", CheckOptions(kinds=("overlay",), video=tmp_path / "other.mp4"))
    assert "has 64 x 96 pixels, the camera of the motion 160 x 96, which is another aspect ratio" in caplog.text
    assert re.search(r"The motion ends at 0.\d s, the video and the overlay at 0.\d s", caplog.text)
