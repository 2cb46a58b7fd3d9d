"""Moving pictures of bodies, shaded, on a floor with soft shadows: no display, no GPU, no system ffmpeg."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.body_model import Body
from hmr4d.body.posed_body import PosedBody
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export.motion_npz import checked_fps, checked_joints3d
from hmr4d.motion.skinning import pose_after, sinking
from hmr4d.visualization.figure_style import body_colours, facing_angle
from hmr4d.visualization.floor_painter import SHADOW_STRENGTH, FloorPainter
from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.pixels import Pixels
from hmr4d.visualization.video_file import check_video_size, write_mp4, write_webp
from hmr4d.visualization.video_page import VideoPage
from hmr4d.visualization.view_camera import ELEVATION, THREE_QUARTER, fit_camera, smooth_follow


def write_mesh_video(
    path: str | os.PathLike[str],
    motions: Sequence[tuple[NDArray[Any], str]],
    *,
    fps: float,
    skeleton: Skeleton = SMPL22,
    body: Body | None = None,
    size: tuple[int, int] = (512, 512),
    azimuth: float = THREE_QUARTER,
    renderer: type[MeshRenderer] = MeshRenderer,
    convention: str | None = None,
) -> None:
    """Writes motions on bodies, side by side, as an H.264 mp4 or an animated WebP with one picture per frame.

    Each body takes the bone lengths of its motion and is raised if it would sink into the floor. A shorter motion
    waits in its last pose.

    Args:
        path: file to write; a name that ends in .webp gives an animated WebP, any other an mp4.
        motions: (joints3d, caption) pairs; joints3d is (L, 22, 3) metres, world, y up; array or tensor.
        fps: frames per second of motions and video.
        skeleton: joint meaning; SMPL22.
        body: anyone's; None for the free light body.
        size: (width, height) pixels of each figure's part of the picture, even.
        azimuth: radians from straight in front of the figure towards its left, where the camera stands.
        renderer: what draws the bodies: `MeshRenderer`, or `gl_renderer.GlMeshRenderer`.
        convention: of the source of the motions, see `body.joint_conventions`.

    Raises:
        ValueError: no motion, joints that do not fit the skeleton or are not finite (names the motion), another
            skeleton, an unknown convention, a bad fps or a bad size.
    """
    if not motions:
        raise ValueError("motions is empty but a video needs at least one motion. Pass [(joints3d, caption)].")
    if skeleton != SMPL22:
        raise ValueError(f"Skeleton '{skeleton.name}' cannot move a body; give the joints of '{SMPL22.name}'.")
    fps = checked_fps(fps)
    check_video_size(size)
    posed = []
    for number, (joints3d, caption) in enumerate(motions):
        try:
            joints = torch.from_numpy(checked_joints3d(joints3d, skeleton))
            posed.append((pose_after(joints, body, fps=fps, convention=convention), caption))
        except ValueError as error:
            raise ValueError(f"Motion {number} ({caption!r}): {error}") from error
    num_frames = max(p.num_frames for p, _ in posed)
    parts = [
        mesh_frames(p, fps=fps, caption=caption, size=size, azimuth=azimuth, renderer=renderer, num_frames=num_frames)
        for p, caption in posed
    ]
    pictures = (np.concatenate(row, axis=1) for row in zip(*parts, strict=True))
    if Path(path).suffix.lower() == ".webp":
        write_webp(path, pictures, fps=fps)
    else:
        write_mp4(path, pictures, fps=fps, size=(size[0] * len(parts), size[1]))


def mesh_frames(
    posed: PosedBody,
    *,
    fps: float,
    caption: str = "",
    size: tuple[int, int] = (512, 512),
    azimuth: float = THREE_QUARTER,
    renderer: type[MeshRenderer] = MeshRenderer,
    num_frames: int | None = None,
) -> Iterator[Pixels]:
    """Yields the pictures of a video in order, as (H, W) words (see `pixels`).

    Args:
        posed: the body; finite.
        fps, caption, size, azimuth, renderer: see `write_mesh_video`.
        num_frames: pictures, the last one again and again from the end of the motion; None for its own number.
    """
    num_frames = posed.num_frames if num_frames is None else num_frames
    page = VideoPage(caption, size, num_frames, fps)
    bounds = posed.bounds()
    height = sinking(bounds)
    posed, bounds = posed.raised(height), bounds + bounds.new_tensor([0.0, height, 0.0])
    joints = posed.joints22().numpy()
    path = joints[:, 0, [0, 2]]
    follow = smooth_follow(joints[:, 0], fps)
    camera = fit_camera(
        _corners(bounds.numpy(), follow), azimuth=facing_angle(joints, SMPL22) + azimuth, elevation=ELEVATION,
        frame=page.frame,
    )  # fmt: skip
    ground = FloorPainter(camera, size=size, floor_top=page.floor_top, floor_bottom=page.floor_bottom)
    drawer = renderer(posed.body.faces, body_colours(posed.body))
    base = page.base(ground.picture)
    pixels = base
    for frame, mesh in enumerate(posed.meshes()):
        vertices = mesh.numpy()
        pixels = base.copy()
        ground.draw(pixels, follow[frame], path, frame)
        ground.draw_shadow(
            pixels, vertices, follow[frame], lambda places, extent: drawer.shadow(places, extent, SHADOW_STRENGTH)
        )
        drawer.draw(pixels, vertices, camera.pinhole(follow[frame], size))
        page.draw_clock(pixels, frame)
        yield pixels
    for frame in range(posed.num_frames, num_frames):
        still = pixels.copy()
        page.draw_clock(still, frame)
        yield still


def _corners(bounds: NDArray[np.floating], follow: NDArray[np.floating]) -> NDArray[np.floating]:
    """(8 L, 3) corners of boxes (L, 2, 3), relative to the followed points (L, 2) on the floor, and the floor below."""
    bounds = bounds - np.insert(follow, 1, 0.0, axis=1)[:, None]
    bounds[:, 0, 1] = np.minimum(bounds[:, 0, 1], -0.05)
    return np.concatenate([np.stack([bounds[:, i, 0], bounds[:, j, 1], bounds[:, k, 2]], 1)
                           for i, j, k in product((0, 1), repeat=3)])  # fmt: skip
