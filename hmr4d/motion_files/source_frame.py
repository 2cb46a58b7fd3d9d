"""Units, axes and frame rates of source files, and checks for wrong ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.stance import STILL, USUAL_HEIGHT, BodyPoints, body_height, height_fault, motion_doubts, standing_axis
from hmr4d.motion_files.bvh import BvhClip, BvhError
from hmr4d.utils.remarks import Remark

METERS_PER_UNIT = {
    "m": 1.0,
    "cm": 0.01,
    "mm": 0.001,
    "inch": 0.0254,
    "ft": 0.3048,
    "cmu": 0.0254 / 0.45,  # the CMU database counts in 1/0.45 inch
}
# Axis that points up in a file -> rows of the rotation that turns it to y.
_TO_Y_UP = {
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}
UP_AXES = tuple(_TO_Y_UP)
RATES = (5.0, 1000.0)  # frames per second of motion capture
_ALONG, _MOSTLY = 0.7, 0.75  # of the speed of the body, and of the frames; feet of people rest more often
_FRAMES_TO_TELL, _ANGLES_TO_TELL = 10, 30  # frames and rotation channels; fewer do not tell degrees from radians


def meters_per_unit(unit: str) -> float:
    """Scale of a unit name (m, cm, mm, inch, cmu) or of a number written out.

    Raises:
        ValueError: neither, or no positive number.
    """
    if unit in METERS_PER_UNIT:
        return METERS_PER_UNIT[unit]
    try:
        scale = float(unit)
    except ValueError:
        raise ValueError(f"Unit '{unit}' is neither a number nor one of {sorted(METERS_PER_UNIT)}.") from None
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"Meters per unit must be a positive number, got {unit}.")
    return scale


def unit_name(scale: float) -> str:
    """Name of a scale: "cm", or "units of 0.3 m"."""
    return next((name for name, meters in METERS_PER_UNIT.items() if meters == scale), f"units of {scale:g} m")


def likely_unit(height: float) -> str:
    """The unit in which a height, see `body_height`, comes closest to that of an adult."""
    return min(METERS_PER_UNIT, key=lambda u: abs(math.log(max(height, 1e-9) * METERS_PER_UNIT[u] / USUAL_HEIGHT)))


def turned_y_up(joints3d: NDArray[np.floating], up: str) -> NDArray[np.floating]:
    """(..., 3) points of a file with up axis `up`, rotated so that y points up; still right-handed."""
    if up == "y":
        return joints3d
    rows = np.array(_TO_Y_UP[up])
    axes = np.abs(rows).argmax(1)
    return joints3d[..., axes] * rows[range(3), axes].astype(joints3d.dtype)


def source_fps(clip: BvhClip, asked: float | None) -> float:
    """Frames per second of a BVH file: the requested rate, else that of the file.

    Raises:
        BvhError: no rate is requested, and that of the file is impossible; the message suggests a correction.
    """
    if asked is not None:
        return asked
    if RATES[0] <= clip.fps <= RATES[1] or clip.num_frames == 1:
        return clip.fps
    time = clip.frame_time
    meant = [
        f"{what} {rate:.6g} frames per second (--source-fps {rate:.6g})"
        for what, rate in (("as milliseconds it is", 1000 / time), ("as a rate", time), ("as microseconds", 1e6 / time))
        if RATES[0] <= rate <= RATES[1]
    ]
    advice = ", ".join(meant) or "give the frames per second with --source-fps"
    raise BvhError(
        f"{clip.name}: 'Frame Time: {time:g}' would be {clip.fps:.3g} frames per second, {clip.num_frames} frames "
        f"in {clip.num_frames * time:.3g} seconds; {advice}."
    )


def offset_remark(clip: BvhClip) -> list[Remark]:
    """A remark if the position channels of a clip are added to OFFSET without being asked, see
    `BvhClip.counts_from_offset`."""
    if not clip.counts_from_offset:
        return []
    return [Remark("offsets", "the positions of joints are 0, but their OFFSET is not; OFFSET is added to them.")]


def angle_doubt(clip: BvhClip) -> list[Remark]:
    """A warning if the rotations of a clip seem to be radians, which leave the body nearly in its rest pose."""
    is_rotation = [channel.endswith("rotation") for names in clip.channels for channel in names]
    largest = float(np.abs(clip.motion[:, is_rotation]).max(initial=0.0))
    if clip.num_frames < _FRAMES_TO_TELL or sum(is_rotation) < _ANGLES_TO_TELL or not 1.0 < largest <= 2 * math.pi:
        return []
    words = (
        f"no rotation is larger than {largest:.2g}; are they radians? BVH files have degrees: multiply them by 57.3."
    )
    return [Remark("angles", words)]


def checked_fps_option(value: float | None, option: str) -> float | None:
    """A rate from the command line; ValueError if it is invalid."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{option} is {value} but must be a positive number of frames per second.")
    return value


def import_doubts(
    joints3d: NDArray[np.floating], points: BodyPoints, fps: float, *, scale: float, up: str
) -> tuple[list[Remark], bool]:
    """Warnings about a motion, and the options that correct it.

    Args:
        joints3d: (L, J, 3) meters, y up, as read with these options.
        points: head, feet and tree.
        fps: frames per second.
        scale: meters per unit that were taken.
        up: axis that was taken for the one that points up.

    Returns:
        The remarks, and whether the size is impossible for a person.
    """
    height = body_height(joints3d, points)
    doubts = [
        Remark("size", size_words(height, scale)) if doubt.kind == "size" else doubt
        for doubt in motion_doubts(joints3d, points, fps)
    ]
    advice = "--source-fps sets it."
    if _feet_move_along(joints3d, points):
        advice += " The feet move along: are positions of the root in another unit than the bones?"
    doubts = [Remark(d.kind, f"{d.words} {advice}") if d.kind == "speed" else d for d in doubts]
    pose = joints3d - joints3d[:, :1]
    is_told = any(doubt.kind == "still" for doubt in doubts)
    if len(joints3d) >= _FRAMES_TO_TELL and float(np.abs(pose - pose[0]).max()) < STILL and not is_told:
        doubts.append(Remark("still", f"the pose never changes in {len(joints3d)} frames; are the rotations missing?"))
    axis = standing_axis(joints3d, points)
    if axis not in (None, "y"):
        column = np.zeros(3)
        column["xyz".index(axis[-1])] = -1 if axis.startswith("-") else 1
        in_file = np.array(_TO_Y_UP[up]).T @ column
        direction = f"{'-' if in_file.sum() < 0 else ''}{'xyz'[int(np.abs(in_file).argmax())]}"
        words = (
            f"the body lies along {axis} in nearly all frames; if {direction} points up in the file: --up {direction}."
        )
        doubts.append(Remark("up", words.replace("--up -", "--up=-")))
    return doubts, bool(height) and height_fault(height) == "refused"


def _feet_move_along(joints3d: NDArray[np.floating], points: BodyPoints) -> bool:
    """Whether both feet move about as fast as the body (L, J, 3) in most frames, which no wrong rate explains."""
    if not points.feet or len(joints3d) < 2:
        return False
    body = np.linalg.norm(np.diff(joints3d.mean(1), axis=0), axis=-1)
    feet = np.linalg.norm(np.diff(joints3d[:, list(points.feet)], axis=0), axis=-1).min(1)
    return bool((feet > _ALONG * body).mean() > _MOSTLY)


def size_words(height: float, scale: float) -> str:
    """Message about the body height in the used unit, and the unit in which it has the size of a person."""
    taken, better = unit_name(scale), likely_unit(height / scale)
    tall = f"with lengths in {taken} the body is {height:.2g} m tall from head to feet"
    if METERS_PER_UNIT[better] == scale:
        return f"{tall}; {USUAL_HEIGHT} m are usual. --unit gives other lengths."
    would = height / scale * METERS_PER_UNIT[better]
    if height_fault(would) == "refused":
        return f"{tall}, and in no known unit the size of a person; --unit also takes meters per unit as a number."
    return f"{tall}; in {better} it would be {would:.2f} m (--unit {better})."
