"""Videos for checking a reference motion: depth, overlay on the original video, turntable."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hmr4d.body.body_model import Body
from hmr4d.body.posed_body import PosedBody
from hmr4d.detection.video_pictures import VideoMetadata, read_video_metadata, video_pictures
from hmr4d.motion.skinning import drive_body
from hmr4d.reference_motion.checker_camera import at_size, checking_views
from hmr4d.reference_motion.reference_file import ReferenceMotion
from hmr4d.visualization.figure_style import body_colors
from hmr4d.visualization.floor_grid import draw_ground_shadow, floor_grid
from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.pixels import Pixels, to_pixels
from hmr4d.visualization.video_file import write_mp4
from hmr4d.visualization.view_camera import ELEVATION, PinholeView, fit_camera, smooth_follow

logger = logging.getLogger(__name__)

KINDS = ("depth", "overlay", "turntable")
STYLES = ("depth", "shaded")
SIZE = (1920, 1080)
_NEAREST = 0.005  # meters; near plane
_SAME_ASPECT = 0.02  # largest relative difference between the aspect ratios of video and camera
_SHORTER = 0.25  # seconds; a video may end this much before the motion
_RING = 24  # directions of a turntable that must keep the figure in the image
_FLOOR_REACH = 4  # meters of floor on a turntable


@dataclass(frozen=True)
class CheckOptions:
    """Options of the check videos.

    Attributes:
        kinds: types of videos, from KINDS; None: a turntable, and an overlay or, without a video, depth.
        video: original video; None: no video.
        video_start: time in the video at which the motion starts, seconds.
        from_velocities: integrate the velocities of the features instead of reading positions.
        size: width and height, if neither file nor video has them.
        longest: largest longer side, pixels; None: the size of the camera.
        style: style of the overlay: half image and half depth, or a shaded body.
        body: body to draw; None: the free body.
    """

    kinds: Sequence[str] | None = None
    video: Path | None = None
    video_start: float = 0.0
    from_velocities: bool = False
    size: tuple[int, int] = SIZE
    longest: int | None = None
    style: str = STYLES[0]
    body: Body | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for unknown kinds, an overlay without a video, or a negative start."""
        unknown = [kind for kind in self.kinds or () if kind not in KINDS]
        if unknown or self.style not in STYLES:
            raise ValueError(f"Unknown: {unknown or self.style}; kinds are {KINDS}, overlay styles are {STYLES}.")
        if self.kinds is not None and "overlay" in self.kinds and self.video is None:
            raise ValueError("An overlay requires the original video; give --video, or remove the overlay.")
        if not (math.isfinite(self.video_start) and self.video_start >= 0):
            raise ValueError(f"The motion starts at {self.video_start} s of the video; expected 0 or more.")
        if min(self.size) < 1 or (self.longest is not None and self.longest < 64):
            raise ValueError(f"size is {self.size} and longest {self.longest}; images need at least 64 pixels.")


def write_checks(reference: ReferenceMotion, out: Path, name: str, options: CheckOptions | None = None) -> list[Path]:
    """Writes check videos of a motion as mp4 files at the frame rate of the motion.

    Args:
        reference: reference motion.
        out: folder.
        name: prefix of the file names.
        options: options.

    Returns:
        The files: `<name>_depth.mp4` (`<name>_depth_recover_velocity.mp4` from velocities), `<name>_overlay.mp4` and
        `<name>_turntable.mp4`.

    Raises:
        FileNotFoundError, ValueError: the video is missing or cannot be decoded, or it ends before the motion starts.
    """
    options = options or CheckOptions()
    kinds = options.kinds or (("overlay" if options.video else "depth"), "turntable")
    video = None if options.video is None else read_video_metadata(options.video)
    motion = reference.motion(from_velocities=options.from_velocities)
    posed = drive_body(motion, options.body)
    views = checking_views(reference, size=options.size, video_size=video and video.size)
    if video is not None:
        _doubt_video(video, views[0].size, options.video_start + motion.num_frames / motion.fps)
    views = at_size(views, options.longest)
    files = []
    for kind in kinds:
        ending = "_recover_velocity" if kind == "depth" and options.from_velocities else ""
        path = out / f"{name}_{kind}{ending}.mp4"
        size = views[0].size
        if kind == "depth":
            pictures = depth_pictures(posed, views)
        elif kind == "overlay":
            assert options.video is not None and video is not None
            pictures = overlay_pictures(posed, views, _original(options, video.fps, motion.fps, size), options.style)
        else:
            pictures = turntable_pictures(posed, motion.fps, size)
        write_mp4(path, pictures, fps=motion.fps, size=size)
        files.append(path)
    return files


def _doubt_video(video: VideoMetadata, size: tuple[int, int], seconds: float) -> None:
    """Logs a warning if the aspect ratio of the video differs from the camera or the video ends before the motion."""
    width, height = video.size
    if abs(width / height * size[1] / size[0] - 1) > _SAME_ASPECT:
        logger.warning(
            "The video has %d x %d pixels, the camera of the motion %d x %d, which is another aspect ratio. Check "
            "that it is the right video. Its images are stretched to the camera.",
            width,
            height,
            *size,
        )
    lasts = len(video.times) / video.fps if video.fps else math.inf
    if len(video.times) and seconds > lasts + _SHORTER:
        logger.warning(
            "The motion ends at %.1f s, the video and the overlay at %.1f s. Check the video and the frame rate of "
            "the motion.",
            seconds,
            lasts,
        )


def depth_pictures(posed: PosedBody, views: Sequence[PinholeView]) -> Iterator[Pixels]:
    """Depth images of all frames in gray: the nearest point of the clip is white, the farthest point and the
    background black."""
    drawer = MeshRenderer(posed.body.faces)
    low, high = _depth_range(drawer, posed, views)
    for depth in _depths(drawer, posed, views):
        yield gray_words(depth_levels(depth, low, high))


def overlay_pictures(
    posed: PosedBody, views: Sequence[PinholeView], originals: Iterator[NDArray[np.uint8]], style: str
) -> Iterator[Pixels]:
    """Video frames (H, W, 3) with the body, until the video or the motion ends."""
    if style == "shaded":
        drawer = MeshRenderer(posed.body.faces, body_colors(posed.body))
        for original, mesh, view in zip(originals, posed.meshes(), views, strict=False):
            pixels = to_pixels(Image.fromarray(original))
            drawer.draw(pixels, mesh, view, opacity=0.8)
            yield pixels
        return
    for original, depth in zip(originals, depth_pictures(posed, views), strict=False):
        gray = (depth & np.uint32(255)).astype(np.uint16)[..., None]
        mixed = ((original.astype(np.uint16) + gray) // 2).astype(np.uint8)
        yield np.ascontiguousarray(np.insert(mixed, 3, 0, axis=-1)).view(np.uint32)[..., 0]


def turntable_pictures(posed: PosedBody, fps: float, size: tuple[int, int]) -> Iterator[Pixels]:
    """Images of the motion on a grid of meters while the camera circles it once."""
    joints = posed.joints22().numpy()
    follow = smooth_follow(joints[:, 0], fps)
    bounds = posed.bounds().numpy()
    ring = _ring(bounds, follow)
    drawer = MeshRenderer(posed.body.faces, body_colors(posed.body))
    margin = 0.04 * size[1]
    frame = (margin, margin, size[0] - margin, size[1] - margin)
    for number, mesh in enumerate(posed.meshes()):
        azimuth = 2 * math.pi * number / posed.num_frames
        view = fit_camera(ring, azimuth=azimuth, elevation=ELEVATION, frame=frame).pinhole(follow[number], size)
        pixels = to_pixels(floor_grid(view, center=follow[number], reach=_FLOOR_REACH))
        vertices = mesh.numpy()
        draw_ground_shadow(pixels, drawer, vertices, view)
        drawer.draw(pixels, vertices, view)
        yield pixels


def depth_levels(depth: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Gray levels (...) of depths (...), metres: 255 at `low`, 0 at `high` and for infinite or negative depth.

    Fractions are truncated.
    """
    is_hit = np.isfinite(depth) & (depth >= 0)
    spread = max(high - low, np.finfo(np.float32).tiny)
    level = (np.float32(high) - np.where(is_hit, depth, high)) / np.float32(spread) * np.float32(255)
    return np.clip(level, 0, 255).astype(np.uint8)


def gray_words(levels: NDArray[np.uint8]) -> Pixels:
    """Packed pixels (H, W) of gray levels (H, W)."""
    return levels.astype(np.uint32) * np.uint32(0x010101)


def _depths(drawer: MeshRenderer, posed: PosedBody, views: Sequence[PinholeView]) -> Iterator[NDArray[np.float32]]:
    for mesh, view in zip(posed.meshes(), views, strict=True):
        yield drawer.depth(mesh, view, nearest=_NEAREST)


def _depth_range(drawer: MeshRenderer, posed: PosedBody, views: Sequence[PinholeView]) -> tuple[float, float]:
    """Minimum and maximum visible depth of the clip; 0 and 1, with a warning, if nothing is visible."""
    low, high = math.inf, -math.inf
    for depth in _depths(drawer, posed, views):
        hits = depth[np.isfinite(depth)]
        if len(hits):
            low, high = min(low, float(hits.min())), max(high, float(hits.max()))
    if low > high:
        logger.warning("The camera never sees the person, so the images are empty. Check the camera of the motion.")
        return 0.0, 1.0
    return low, high


def _original(
    options: CheckOptions, video_fps: float | None, fps: float, size: tuple[int, int]
) -> Iterator[NDArray[np.uint8]]:
    """Frames of the video at the times of the motion, scaled to the image size of its camera."""
    assert options.video is not None
    rate = video_fps or fps
    frame = 0
    for number, picture in enumerate(video_pictures(options.video)):
        if number != _number_at(frame, options.video_start, rate, fps):
            continue
        shown = np.asarray(picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR))
        while number == _number_at(frame, options.video_start, rate, fps):
            yield shown
            frame += 1
    if not frame:
        raise ValueError(f"{options.video} ends before the motion starts at {options.video_start:g} s.")


def _number_at(frame: int, start: float, video_fps: float, fps: float) -> int:
    """Frame number of the video for a frame of the motion."""
    return math.floor((start + frame / fps) * video_fps + 0.5)


def _ring(bounds: NDArray[np.floating], follow: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotationally symmetric points (2 K, 3) that enclose all positions of the body relative to the followed point."""
    corners = bounds[..., [0, 2]] - follow[:, None]
    radius = float(np.abs(corners).max())
    angles = np.linspace(0, 2 * math.pi, _RING, endpoint=False)
    low, high = min(float(bounds[:, 0, 1].min()), 0.0), float(bounds[:, 1, 1].max())
    circle = radius * np.stack([np.sin(angles), np.cos(angles)], 1)
    return np.concatenate([np.insert(circle, 1, height, axis=1) for height in (low, high)])
