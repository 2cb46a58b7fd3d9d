"""The track of one person in a file, and its conversion to a clip: frame order, gaps, units, axes, camera."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.cameras import rigid
from hmr4d.motion.motion import Motion, Provenance, checked_fps
from hmr4d.motion.pose_interpolation import interpolate_linearly, interpolate_rotations
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.rest_joints import derived_rest_joints, family_rest_joints
from hmr4d.reference_motion.video_camera import CAMERA_TO_Y_UP, Z_UP_TO_Y_UP, VideoCamera, upright_camera
from hmr4d.utils import lazy_roma as roma

logger = logging.getLogger(__name__)

MAX_GAP = 0.5  # seconds; longest gap that is interpolated
FARTHEST = 200.0  # meters; larger distances from the origin indicate another unit
FASTEST = 12.0  # meters per second; a larger median speed indicates another unit
HEAD_DOWN = -0.5  # mean upward component of the direction from pelvis to neck; clips below it get a warning
MOST_TURN = 2 * math.pi  # radians; if most rotation vectors are longer, they are in degrees
UPRIGHT = 0.5  # smallest mean component of the direction from pelvis to neck along an up axis
UP_AXES: Mapping[str, tuple[tuple[float, float, float], ...]] = {  # up axis -> rotation to y up
    "y": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "-y": CAMERA_TO_Y_UP,
    "z": Z_UP_TO_Y_UP,
}
SPACES = ("auto", "world", "camera")


@dataclass(frozen=True, eq=False)
class Placement:
    """The position of the body of a track.

    Attributes:
        root: (F, 3, 3) rotation of the pelvis.
        translation: (F, 3) translation of the body model: pelvis minus its rest position.
        up: up axis, one of UP_AXES; None: detected from the body.
    """

    root: Tensor
    translation: Tensor
    up: str | None


@dataclass(frozen=True, eq=False)
class BodyTrack:
    """The unprocessed track of one person in a file. All arrays are float64.

    Attributes:
        family: body model, "smplx", "smplh" or "smpl".
        body_rotations: (F, 21, 3, 3) rotations of joints 1..21 relative to their parents.
        placements: "camera" (axes of a camera: x right, y down, z forward) or "world", or both.
        frames: (F,) frame numbers of the video; None: consecutive.
        betas: (S,) shape; None: unknown.
        gender: gender of the body model.
        fps: frame rate in the file; None: unknown.
        usual_fps: default frame rate of the system.
        K: (3, 3) intrinsics in pixels; None: unknown.
        size: width and height of the image; None: unknown.
        is_level: whether the up axis of the world placement is aligned with gravity.
        remarks: warnings about the track, sentences.
    """

    family: str
    body_rotations: Tensor
    placements: Mapping[str, Placement]
    frames: np.ndarray | None = None
    betas: Tensor | None = None
    gender: str = "neutral"
    fps: float | None = None
    usual_fps: float = 30.0
    K: Tensor | None = None
    size: tuple[int, int] | None = None
    is_level: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        return len(self.body_rotations)


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading files of other systems.

    Attributes:
        fps: frame rate of the file; None: that in the file, or the default of its system.
        person: name of the person in the file; None: the one with the most frames.
        space: "world", "camera", or "auto": the world if the file has it.
        up: up axis of the file, one of UP_AXES; None: that of the system, or detected from the body.
        max_gap: longest gap that is interpolated, seconds; longer gaps are an error.
        first, last: first and last frame number of the video; None: all.
        scale: meters per unit of the file.
        focal, size: focal length and image size in pixels, for files without them.
        body_models: folder of the user's licensed body models, for bones and shape; None: bones of the free body.
        video_fps: frame rate of the video, for files without frame rate.
    """

    fps: float | None = None
    person: str | None = None
    space: str = "auto"
    up: str | None = None
    max_gap: float = MAX_GAP
    first: int | None = None
    last: int | None = None
    scale: float = 1.0
    focal: float | None = None
    size: tuple[int, int] | None = None
    body_models: Path | None = None
    video_fps: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for invalid values."""
        if self.fps is not None:
            checked_fps(self.fps)
        if self.space not in SPACES:
            raise ValueError(f"space is '{self.space}'; expected one of {', '.join(SPACES)}.")
        if self.up is not None and self.up not in UP_AXES:
            raise ValueError(f"up is '{self.up}'; expected one of {', '.join(UP_AXES)}.")
        if self.max_gap < 0 or self.scale <= 0:
            raise ValueError(f"max_gap is {self.max_gap} and scale {self.scale}; expected max_gap >= 0 and scale > 0.")


def rotations_of(values: np.ndarray, name: str, num_joints: int) -> Tensor:
    """Rotations (F, J, 3, 3) from axis-angle (F, 3 J) or (F, J, 3), radians, or matrices (F, J, 3, 3); additional
    joints are ignored.

    Raises:
        ValueError: the shape is different; the message states it.
    """
    frames = len(values) if values.ndim else 0
    if values.ndim >= 3 and values.shape[-2:] == (3, 3) and (values.ndim > 3 or num_joints == 1):
        matrices = torch.from_numpy(values.reshape(frames, -1, 3, 3))
        if matrices.shape[1] >= num_joints:
            return _orthonormal(matrices[:, :num_joints], name)
    elif values.ndim >= 2 and frames and values[0].size % 3 == 0 and values[0].size >= 3 * num_joints:
        vectors = torch.from_numpy(values.reshape(frames, -1, 3)[:, :num_joints].copy())
        _check_radians(vectors, name)
        return roma.rotvec_to_rotmat(vectors)
    raise ValueError(
        f"'{name}' has shape {values.shape}; expected axis-angle (F, {3 * num_joints}) or matrices "
        f"(F, {num_joints}, 3, 3), at least {num_joints} joints."
    )


def _check_radians(vectors: Tensor, name: str) -> None:
    """Raises ValueError if the largest rotation of a frame (F, J, 3) exceeds a full turn in most frames."""
    turns = vectors.norm(dim=-1).amax(1)
    usual = float(turns[turns.isfinite()].median()) if bool(turns.isfinite().any()) else 0.0
    if usual > MOST_TURN:
        raise ValueError(
            f"'{name}' rotates joints by {usual:.0f} radians in most frames; a full turn is 6.28. Expected axis-angle "
            "in radians; if the file has degrees, convert them."
        )


def _orthonormal(matrices: Tensor, name: str) -> Tensor:
    """The nearest rotations to near-rotation matrices; NaN is kept. Raises ValueError for other matrices."""
    known = matrices.isfinite().all(-1).all(-1)
    flat = matrices[known]
    fixed: Any = roma.special_procrustes(flat) if len(flat) else flat
    if len(flat) and float((fixed - flat).abs().max()) > 0.05:
        raise ValueError(f"'{name}' contains matrices that are not rotations. Give axis-angle, or rotation matrices.")
    result = matrices.clone()
    result[known] = fixed
    return result


def clip_of_track(track: BodyTrack, options: ReadOptions, system: str) -> ReferenceClip:
    """Converts a track to a clip.

    Raises:
        ValueError: the track has no frames, gaps that are too long, repeated frames or ambiguous axes.
    """
    remarks = list(track.remarks)
    fps = options.fps or track.fps or options.video_fps
    if fps is None:
        fps = track.usual_fps
        remarks.append(
            f"The file has no frame rate; {fps:g} frames per second are assumed; --fps-in sets another rate."
        )
    track, frames = _cut_and_sorted(track, options)
    track, frames = _without_gaps(track, frames, fps, options, remarks)
    rest = _rest_joints(track, options, remarks)
    space = _space(track, options)
    if space == "camera" and options.up is not None:
        raise ValueError(
            "--up applies to motion in a world, but this motion is in camera coordinates, whose up axis "
            "is known. Remove --up."
        )
    place = _y_up(track.placements[space], track, rest, options, remarks)
    rotations = torch.cat([place.root[:, None], track.body_rotations], 1).float()
    shape = track.betas.float() if track.betas is not None and options.body_models is not None else None
    pose = Pose(track.family, rotations, place.translation.float(), rest.float(), shape, track.gender)
    motion = Motion(pose.joints(), fps, pose=pose, provenance=Provenance(more={"source_system": system}))
    _check_unit(motion, remarks)
    _check_upright(pose, space, remarks)
    return ReferenceClip(
        motion,
        _camera(track, place, rest[0], space, options),
        system,
        frames.tolist(),
        space == "world" and track.is_level,
        tuple(remarks),
    )


def _cut_and_sorted(track: BodyTrack, options: ReadOptions) -> tuple[BodyTrack, np.ndarray]:
    """The track in frame order, within the requested frames, and its frame numbers."""
    frames = np.arange(track.num_frames) if track.frames is None else np.asarray(track.frames).astype(np.int64)
    if len(frames) != track.num_frames:
        raise ValueError(f"There are {len(frames)} frame numbers for {track.num_frames} frames.")
    if len(np.unique(frames)) != len(frames):
        numbers, counts = np.unique(frames, return_counts=True)
        raise ValueError(
            f"Frame {numbers[counts > 1][0]} occurs {counts.max()} times in the track. Remove the "
            "duplicates in the source."
        )
    order = np.argsort(frames, kind="stable")
    first = -np.inf if options.first is None else options.first
    last = np.inf if options.last is None else options.last
    order = order[(frames[order] >= first) & (frames[order] <= last)]
    if not len(order):
        given = f"frames {frames.min()} to {frames.max()}" if len(frames) else "no frame"
        raise ValueError(f"The track has {given}, none of the requested ones. Choose other frames.")
    return _selected(track, torch.from_numpy(order)), frames[order]


def _selected(track: BodyTrack, index: Tensor) -> BodyTrack:
    places = {
        name: replace(p, root=p.root[index], translation=p.translation[index]) for name, p in track.placements.items()
    }
    return replace(track, body_rotations=track.body_rotations[index], placements=places, frames=None)


def _without_gaps(
    track: BodyTrack, frames: np.ndarray, fps: float, options: ReadOptions, remarks: list[str]
) -> tuple[BodyTrack, np.ndarray]:
    """The track with a pose in every frame from the first to the last one. Raises ValueError for gaps that are too
    long."""
    known = track.body_rotations.flatten(1).isfinite().all(1)
    for place in track.placements.values():
        known &= place.root.flatten(1).isfinite().all(1) & place.translation.isfinite().all(1)
    seen = frames[known.numpy()]
    if len(seen) < len(frames):
        lost = frames[~known.numpy()]
        remarks.append(
            f"{len(lost)} frames contain values that are not finite, first frame {lost[0]}; they count as missing."
        )
    if not len(seen):
        raise ValueError("No frame of the track has finite values.")
    track = _selected(track, known.nonzero().flatten())
    steps = np.diff(seen)
    longest = int(steps.max(initial=1)) - 1
    if longest > options.max_gap * fps:
        at = int(seen[int(steps.argmax())])
        raise ValueError(
            f"The person is missing for {longest} frames ({longest / fps:.2f} s) after frame {at}, but at most "
            f"{options.max_gap:g} s are interpolated. Select a part with --frames, or raise --max-gap."
        )
    whole = np.arange(seen[0], seen[-1] + 1)
    if missing := len(whole) - len(seen):
        remarks.append(f"{missing} missing frames were interpolated; the longest gap has {longest}.")
        times = torch.from_numpy(np.interp(whole, seen, np.arange(len(seen))))
        places = {
            name: replace(
                p, root=interpolate_rotations(p.root, times), translation=interpolate_linearly(p.translation, times)
            )
            for name, p in track.placements.items()
        }
        body = interpolate_rotations(track.body_rotations, times)
        track = replace(track, body_rotations=body, placements=places)
    return track, whole


def _rest_joints(track: BodyTrack, options: ReadOptions, remarks: list[str]) -> Tensor:
    """Rest joints (22, 3) of the person, meters, float64."""
    if options.body_models is None:
        if track.betas is not None and bool(track.betas.any()):
            remarks.append(
                "The body shape is ignored, because its bones require a licensed body model (--body-models)."
            )
        return derived_rest_joints(track.family).double()
    betas = None if track.betas is None else track.betas.float()
    return family_rest_joints(track.family, options.body_models, betas).double()


def _space(track: BodyTrack, options: ReadOptions) -> str:
    if options.space == "auto":
        return "world" if "world" in track.placements else "camera"
    if options.space not in track.placements:
        raise ValueError(
            f"The file has no motion in the space '{options.space}'; it has "
            f"{', '.join(track.placements)}. Choose another --space."
        )
    return options.space


def _y_up(place: Placement, track: BodyTrack, rest: Tensor, options: ReadOptions, remarks: list[str]) -> Placement:
    """The placement in meters in a world with y up."""
    up = options.up or place.up
    if up is None:
        up = _up_by_body(place.root, track.body_rotations, rest)
        remarks.append(f"The up axis was detected from the body: {up}. Change it with --up.")
    R = torch.tensor(UP_AXES[up]).double()
    scaled = place.translation * options.scale
    return Placement(R @ place.root, (scaled + rest[0]) @ R.mT - rest[0], "y")


def _up_by_body(root: Tensor, body_rotations: Tensor, rest: Tensor) -> str:
    """The axis closest to the mean direction from pelvis to neck. Raises ValueError if it is ambiguous."""
    mean = mean_torso(root, body_rotations, rest)
    shares = {up: float(mean @ torch.tensor(R[1]).double()) for up, R in UP_AXES.items()}
    best = max(shares, key=lambda up: shares[up])
    if shares[best] < UPRIGHT:
        raise ValueError(
            "The body is not upright along any axis for most of the clip, so the up axis is unknown. Give it with --up."
        )
    return best


def mean_torso(root: Tensor, body_rotations: Tensor, rest: Tensor) -> Tensor:
    """(3,) mean unit vector from pelvis to neck over the finite frames.

    Args:
        root: (F, 3, 3) rotations of the pelvis.
        body_rotations: (F, 21, 3, 3) rotations of joints 1..21 relative to their parents.
        rest: (22, 3) rest joints, meters.
    """
    rotations = torch.cat([root[:, None], body_rotations], 1)
    joints = Pose("smplx", rotations, torch.zeros(len(root), 3).to(rest), rest).joints()
    torso = joints[:, SMPL22.index("neck")] - joints[:, 0]
    return (torso / torso.norm(dim=-1, keepdim=True)).nanmean(0)


def _check_upright(pose: Pose, space: str, remarks: list[str]) -> None:
    if float(mean_torso(pose.rotations[:, 0], pose.rotations[:, 1:], pose.rest_joints)[1]) < HEAD_DOWN:
        mend = "camera coordinates, y down, were assumed; for a world, give" if space == "camera" else "say"
        remarks.append(
            f"The body is upside down for most of the clip. If this is wrong: {mend} the up axis (--up), or --space."
        )


def _check_unit(motion: Motion, remarks: list[str]) -> None:
    away = float(motion.joints3d[:, 0].norm(dim=-1).median())
    if away > FARTHEST:
        remarks.append(f"The person is {away:.0f} m away. If lengths are millimeters, use --scale 0.001.")
        return
    if motion.num_frames < 2:
        return
    speed = float((motion.joints3d[1:, 0] - motion.joints3d[:-1, 0]).norm(dim=-1).median()) * motion.fps
    if speed > FASTEST:
        remarks.append(
            f"The pelvis moves at {speed:.0f} m/s. If lengths are millimeters, use --scale 0.001; if the frame rate "
            "is wrong, use --fps-in."
        )


def _camera(track: BodyTrack, place: Placement, pelvis: Tensor, space: str, options: ReadOptions) -> VideoCamera | None:
    """The camera of a clip whose body has the placement `place`; None if the source has none."""
    if "camera" not in track.placements:
        return None
    size, K = track.size or options.size, track.K
    if K is None and options.focal is not None and size is not None:
        K = torch.tensor([[options.focal, 0, size[0] / 2], [0, options.focal, size[1] / 2], [0, 0, 1]])
    if space == "camera":
        return upright_camera(track.num_frames, None if K is None else K.float(), size)
    seen = track.placements["camera"]
    R = seen.root @ place.root.mT  # both placements have the same body, so this is the camera rotation of each frame
    t = seen.translation * options.scale + pelvis - ((place.translation + pelvis)[:, None] @ R.mT)[:, 0]
    return VideoCamera(rigid(R, t), None if K is None else K.float(), size)
