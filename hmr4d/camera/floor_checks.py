"""Plausibility checks of keypoints and camera before lifting: a person on the floor."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hmr4d.camera.camera_files import CameraFile
from hmr4d.geometry.ground_pointmap import meet_floor
from hmr4d.geometry.rigs import normalize
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.motion.ground_contact import rest_heights

logger = logging.getLogger(__name__)

SURE = 0.3  # minimum confidence of evaluated keypoints
STATURES = (1.0, 2.25)  # meters; people outside give a warning
NOBODY = (0.4, 5.0)  # meters; people outside are refused
_FACE = ("head", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
_PAIRS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
_FACE_SHARE = 0.93  # height of the face as a share of the stature
_UPRIGHT = 0.8  # quantile over frames: people stoop, hardly anybody stands on tiptoe
_FEW = 5  # fewer frames give no estimate


def check_on_floor(track: KeypointTrack, camera: CameraFile, foot_heights: Mapping[str, float] | None = None) -> None:
    """Logs the apparent height of the person; warns about missing feet and unusual heights.

    Args:
        track: pixels without distortion.
        camera: camera of the track.
        foot_heights: heights of joints in a standing foot, see `rest_heights`.

    Raises:
        ValueError: no keypoint is confident enough, the feet are mostly above the horizon, or the height is impossible.
    """
    kp2d, seen = torch.from_numpy(track.kp2d).double(), torch.from_numpy(track.kp2d_conf) >= SURE
    if not bool(seen.any()):
        raise ValueError(
            f"No keypoint of person {track.person} is usable: the highest confidence is "
            f"{float(track.kp2d_conf.max()):.2f}, and those below {SURE:g} count as missing. Rescale the confidences "
            "if they have another range, or remove them."
        )
    feet = list(track.skeleton.contact_joints)
    if not bool(seen[:, feet].any()):
        logger.warning(
            "No foot of person %s is visible in any frame; the distance is derived from the body size.", track.person
        )
        return
    _, meets = _feet_on_floor(track, camera, kp2d, foot_heights)
    below = meets[seen[:, feet]].double().mean()
    if below < 0.5:
        raise ValueError(
            f"The feet of person {track.person} are above the horizon of the camera, so they cannot be on its floor "
            f"(pitch {np.degrees(camera.angles[0]):.1f} degrees). Check pitch, focal length and size in its file."
        )
    stature = _stature(track, camera, foot_heights)
    if stature is None:
        return
    if STATURES[0] <= stature <= STATURES[1]:
        logger.info(
            "Person %s looks %.1f m tall over this floor. If that is wrong, all distances are wrong by the same "
            "factor: correct height, pitch, focal length or size in the camera file (--stature tells by how much).",
            track.person,
            stature,
        )
    elif not NOBODY[0] <= stature <= NOBODY[1]:
        raise ValueError(
            f"Person {track.person} would be {stature:.1f} m tall over this floor. Check height, pitch and its sign "
            "(positive looks down), focal length and size in the camera file."
        )
    else:
        logger.warning(
            "Person %s would be %.1f m tall over this floor. Check height, pitch, focal length and size in the camera "
            "file.",
            track.person,
            stature,
        )


def heights_over_floor(
    track: KeypointTrack, camera: CameraFile, foot_heights: Mapping[str, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Apparent heights of body parts above the floor, and their distance, in frames that determine them.

    Heights are relative to the nearest foot, under the assumption of an upright person who faces the camera.

    Args:
        track: pixels without distortion.
        camera: that saw it.
        foot_heights: of standing joints, see `rest_heights`.

    Returns:
        (N, 3) meters of the top of the head, as far above the face as usual, the shoulders and the hips, NaN where they
        are not seen; and (N,) meters to the foot.
    """
    kp2d, seen = torch.from_numpy(track.kp2d).double(), torch.from_numpy(track.kp2d_conf) >= SURE
    feet, names = list(track.skeleton.contact_joints), track.skeleton.joint_names
    face = [j for j, name in enumerate(names) if name in _FACE]
    points, meets = _feet_on_floor(track, camera, kp2d, foot_heights)
    stands = meets & seen[:, feet]
    center = camera.rig.centers[0]
    reach = (points - center)[..., [0, 2]].norm(dim=-1).masked_fill(~stands, torch.inf)
    foot = points[torch.arange(len(points)), reach.argmin(-1)]
    top = kp2d[:, face, 1].masked_fill(~seen[:, face], torch.inf).argmin(-1)
    pixels, known = [kp2d[torch.arange(len(kp2d)), torch.tensor(face)[top]]], [seen[:, face].any(-1)]
    for pair in _PAIRS:
        joints = [j for j, name in enumerate(names) if name in pair]
        pixels.append(kp2d[:, joints].mean(1))
        known.append(seen[:, joints].all(-1) & (len(joints) == len(pair)))
    rays = normalize(camera.rig, torch.stack(pixels, 1)[None])[0]
    direction = torch.cat([rays, torch.ones_like(rays[..., :1])], -1) @ camera.T_w2c[:3, :3]
    ahead = ((foot - center) * foot.new_tensor([1.0, 0.0, 1.0]))[:, None]
    depth = ahead.square().sum(-1) / (ahead * direction).sum(-1).clamp(min=1e-6)
    heights = (center[1] + depth * direction[..., 1]) / center.new_tensor([_FACE_SHARE, 1.0, 1.0])
    heights = torch.where(torch.stack(known, 1), heights, torch.nan)
    usable = stands.any(-1) & known[0]
    return heights[usable], reach.amin(-1)[usable]


def _feet_on_floor(
    track: KeypointTrack, camera: CameraFile, kp2d: Tensor, foot_heights: Mapping[str, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Foot joints (L, F, 3) at the height of standing ones, and whether their rays fall that far (L, F)."""
    feet = list(track.skeleton.contact_joints)
    heights = rest_heights(track.skeleton, foot_heights)[feet].double()
    points, meets = meet_floor(camera.rig, kp2d[None, :, feet], heights)
    return points[0], meets[0]


def _stature(track: KeypointTrack, camera: CameraFile, foot_heights: Mapping[str, float] | None) -> float | None:
    """Meters; None if too few frames determine it."""
    heights, _ = heights_over_floor(track, camera, foot_heights)
    return None if len(heights) < _FEW else float(heights[:, 0].quantile(_UPRIGHT))
