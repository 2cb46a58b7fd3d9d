"""Stick-figure videos of one motion; no display or system ffmpeg required.

Rendering takes a few hundredths of a second per second of motion."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import Skeleton
from hmr4d.motion.motion import Motion
from hmr4d.visualization.figure_style import facing_angle, figure_style
from hmr4d.visualization.pixels import Pixels
from hmr4d.visualization.stick_renderer import StickRenderer
from hmr4d.visualization.video_file import write_mp4
from hmr4d.visualization.video_page import VideoPage
from hmr4d.visualization.view_camera import ELEVATION, THREE_QUARTER, ViewCamera, fit_camera, smooth_follow


def write_stick_video(
    path: str | os.PathLike[str],
    motion: Motion,
    *,
    size: tuple[int, int] = (512, 512),
) -> None:
    """Writes one motion as an H.264 mp4 with one image per frame.

    Args:
        path: file to write.
        motion: motion of any skeleton; its text is the caption, wrapped to three lines.
        size: (width, height) pixels, even.

    Raises:
        ValueError: joints are not finite, or the size is invalid.
    """
    frames = video_frames(motion.array(), fps=motion.fps, skeleton=motion.skeleton, caption=motion.text, size=size)
    write_mp4(path, frames, fps=motion.fps, size=size)


def video_frames(
    joints3d: NDArray[np.floating],
    *,
    fps: float,
    skeleton: Skeleton,
    caption: str = "",
    size: tuple[int, int] = (512, 512),
) -> Iterator[Pixels]:
    """Yields the images of a video in order, as (H, W) packed pixels (module `pixels`), for finite joints (L, J, 3)."""
    page = VideoPage(caption, size, len(joints3d), fps)
    follow = smooth_follow(joints3d[:, 0], fps)
    camera = fit_motion_camera(joints3d, follow, skeleton, frame=page.frame)
    renderer = StickRenderer(skeleton, camera, size=size, floor_top=page.floor_top, floor_bottom=page.floor_bottom)
    base = page.base(renderer.floor)
    for frame, joints in enumerate(joints3d):
        pixels = renderer.draw(base, joints, follow[frame], path=joints3d[:, 0, [0, 2]], now=frame)
        page.draw_clock(pixels, frame)
        yield pixels


def fit_motion_camera(
    joints3d: NDArray[np.floating],
    follow: NDArray[np.floating],
    skeleton: Skeleton,
    *,
    frame: tuple[float, float, float, float],
    azimuth: float = THREE_QUARTER,
    elevation: float = ELEVATION,
) -> ViewCamera:
    """Three-quarter camera that follows `follow` (L, 2) and keeps the whole clip (L, J, 3) inside `frame`."""
    style = figure_style(skeleton)
    points = (
        joints3d if style.head is None else np.concatenate([joints3d, style.head_center(joints3d)[:, None]], axis=1)
    )
    relative = points - np.insert(follow, 1, 0.0, axis=1)[:, None]
    reach = style.head_radius + 0.02
    low, high = relative - reach, relative + reach
    low[..., 1] = np.minimum(low[..., 1], -0.05)
    around = np.concatenate([low.reshape(-1, 3), high.reshape(-1, 3)])
    return fit_camera(around, azimuth=facing_angle(joints3d, skeleton) + azimuth, elevation=elevation, frame=frame)
