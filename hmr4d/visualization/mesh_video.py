"""Videos of shaded bodies on a floor with soft shadows; no display, GPU or system ffmpeg required."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.body_model import Body
from hmr4d.body.posed_body import PosedBody
from hmr4d.body.skeleton import SMPL22
from hmr4d.motion.motion import Motion
from hmr4d.motion.skinning import drive_body, sinking
from hmr4d.visualization.figure_style import body_colors, facing_angle
from hmr4d.visualization.floor_painter import SHADOW_STRENGTH, FloorPainter
from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.pixels import Pixels
from hmr4d.visualization.video_file import check_video_size, write_mp4, write_webp
from hmr4d.visualization.video_page import VideoPage
from hmr4d.visualization.view_camera import ELEVATION, THREE_QUARTER, fit_camera, smooth_follow


def write_mesh_video(
    path: str | os.PathLike[str],
    motions: Sequence[Motion],
    *,
    body: Body | None = None,
    size: tuple[int, int] = (512, 512),
    azimuth: float = THREE_QUARTER,
    renderer: type[MeshRenderer] = MeshRenderer,
) -> None:
    """Writes motions on bodies, side by side, as an H.264 mp4 or an animated WebP with one image per frame.

    Each body has the bone lengths of its motion and is raised if it would penetrate the floor. Shorter motions hold
    their last pose.

    Args:
        path: file to write; a name that ends in .webp gives an animated WebP, any other an mp4.
        motions: motions of SMPL-22 joints with one frame rate; their texts are the captions.
        body: body to draw; None: the free light body.
        size: (width, height) of each figure's part of the image, pixels, even.
        azimuth: angle of the camera from straight in front of the figure towards its left, radians.
        renderer: renderer class: `MeshRenderer` or `gl_renderer.GlMeshRenderer`.

    Raises:
        ValueError: there is no motion, frame rates differ, a motion is not finite or has an unsupported skeleton or
            convention (the message names it), or the size is invalid.
    """
    if not motions:
        raise ValueError("motions is empty but a video needs at least one motion.")
    fps = motions[0].fps
    if other := next((motion.fps for motion in motions if motion.fps != fps), None):
        raise ValueError(
            f"A video has one frame rate, but the motions have {fps:g} and {other:g}. Resample them first."
        )
    check_video_size(size)
    posed = []
    for number, motion in enumerate(motions):
        try:
            posed.append((drive_body(motion, body), motion.text))
        except ValueError as error:
            raise ValueError(f"Motion {number} ({motion.text!r}): {error}") from error
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
    """Yields the images of a video in order, as (H, W) packed pixels (see `pixels`).

    Args:
        posed: posed body, finite.
        fps, caption, size, azimuth, renderer: see `write_mesh_video`.
        num_frames: number of images; the last frame of the motion is repeated. None: as many as the motion has.
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
        _corners(bounds.numpy(), follow),
        azimuth=facing_angle(joints, SMPL22) + azimuth,
        elevation=ELEVATION,
        frame=page.frame,
    )
    ground = FloorPainter(camera, size=size, floor_top=page.floor_top, floor_bottom=page.floor_bottom)
    drawer = renderer(posed.body.faces, body_colors(posed.body))
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
    """Corners (8 L, 3) of bounding boxes (L, 2, 3), extended to the floor, relative to the followed floor points (L,
    2)."""
    bounds = bounds - np.insert(follow, 1, 0.0, axis=1)[:, None]
    bounds[:, 0, 1] = np.minimum(bounds[:, 0, 1], -0.05)
    return np.concatenate(
        [np.stack([bounds[:, i, 0], bounds[:, j, 1], bounds[:, k, 2]], 1) for i, j, k in product((0, 1), repeat=3)]
    )
