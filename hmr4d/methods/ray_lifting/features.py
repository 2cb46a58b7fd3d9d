"""Input features of a track, and interpretation of the network output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.lifting.corruptions import REFERENCE_SIDE
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.ray_lifting.ray_frame import FEET, RayFrame, camera_rays, find_frame, floor_distances

JOINTS = SMPL22.num_joints
NUM_FEET = len(FEET)
MID_HEIGHT = 0.9  # meters; offset that centers the heights in the input
TANGENT_UNIT = 0.03  # unit of the tangent of the depression angle
NUM_FEATURES = 4 * JOINTS + 3 * NUM_FEET + 7
NUM_OUTPUTS = 7 * JOINTS + NUM_FEET
LOG_SCALES = (-6.0, 1.0)  # bounds of the logarithm of an expected error, meters


@dataclass(frozen=True)
class RayTrack:
    """A track in the ray frame.

    Attributes:
        frame: ray frame.
        plane: (B, L, 22, 2) observed joints on the plane, meters.
        seen: (B, L, 22) bool.
        floor: (B, L, 4) distance behind the plane at which the feet would stand on the floor, meters.
        meets: (B, L, 4) bool, whether the foot is observed below the horizon.
        pixel: (B, L) size on the plane of a pixel of an image with a shorter side of 1080, meters.
        features: (B, L, NUM_FEATURES) network input.
    """

    frame: RayFrame
    plane: Tensor
    seen: Tensor
    floor: Tensor
    meets: Tensor
    pixel: Tensor
    features: Tensor


@dataclass(frozen=True)
class Prediction:
    """The network prediction for a track.

    Attributes:
        plane: (B, L, 22, 2) joints on the plane, meters.
        along: (B, L, 22) distance of the joints behind the plane, meters.
        log_along, log_across: (B, L, 22) logarithms of the expected mean absolute error along the ray and across it,
            meters.
        contact: (B, L, 4) logits of standing feet.
    """

    plane: Tensor
    along: Tensor
    log_along: Tensor
    log_across: Tensor
    contact: Tensor


def ray_track(
    rig: Rig, pixels: Tensor, conf: Tensor, rest: Tensor, *, fps: float, valid: Tensor | None = None
) -> RayTrack:
    """Converts a track (B, L, 22, 2) of view 0 with confidences (B, L, 22), 0 for missing, to the ray frame.

    Args:
        rig: cameras (B, V, ...).
        pixels, conf: pixels and confidence of SMPL-22 joints.
        rest: (B, 4) or (4,) height of the joints of standing feet, meters.
        fps: frames per second.
        valid: (B, L) bool, valid frames; None: all.
    """
    seen = (conf > 0) & pixels.isfinite().all(-1)
    if valid is not None:
        seen = seen & valid[..., None]
    rays, height = camera_rays(rig, torch.where(seen[..., None], pixels, 0.0))
    frame = find_frame(rays, seen, height, rest, fps=fps)
    plane = frame.to_plane(rays) * seen[..., None]
    inverse, meets = floor_distances(rays[:, :, list(FEET)], height, rest)
    meets = meets & seen[:, :, list(FEET)]
    unit = rays[:, :, list(FEET)] * rays.new_tensor([1.0, 0.0, 1.0])
    unit = unit / unit.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    forward = (unit * frame.ahead[:, :, None]).sum(-1)
    floor = forward / inverse.clamp(min=1e-3) - frame.distance[..., None]
    tangent = height[..., None] * (inverse - 1 / frame.distance[..., None]) / TANGENT_UNIT
    floor_features = torch.stack([(floor / 0.3).clamp(-3, 3), tangent.clamp(-3, 3)], -1) * meets[..., None]
    scale = rig.size[:, 0].amin(-1) / (REFERENCE_SIDE * rig.K4[:, 0, :2].mean(-1))
    pixel = torch.hypot(frame.distance, height) * scale[:, None]
    place = frame.distance[..., None] * frame.ahead
    step = torch.diff(place, dim=1, append=place[:, -1:]) * fps
    speed = [(step * axis).sum(-1) for axis in (frame.ahead, frame.right)]
    globals_ = torch.stack(
        [
            frame.distance.log() - 1.5,
            height.expand_as(frame.distance).log() - 0.4,
            frame.elevation,
            pixel.log() + 5.5,
            *(s.clamp(-4, 4) / 1.5 for s in speed),
            meets.any(-1).to(pixel),
        ],
        -1,
    )
    centered = (plane - plane.new_tensor([0.0, MID_HEIGHT])) * seen[..., None]
    moved = torch.diff(centered, dim=1, append=centered[:, -1:]) * fps / 3
    both = seen & torch.cat([seen[:, 1:], seen[:, -1:]], 1)
    moved = (moved[..., 1:] * both[..., None]).clamp(-3, 3)
    parts = [
        2 * centered.flatten(2),
        seen.to(plane),
        moved.flatten(2),
        floor_features.flatten(2),
        meets.to(plane),
        globals_,
    ]
    return RayTrack(frame, plane, seen, floor, meets, pixel, torch.cat(parts, -1))


def mirrored_view(rig: Rig, pixels: Tensor, conf: Tensor) -> tuple[Rig, Tensor, Tensor]:
    """Rig, pixels and confidences of view 0 after mirroring the world left to right.

    Args:
        rig: cameras (B, V, ...) with view 0 above the origin.
        pixels, conf: (B, L, 22, 2) and (B, L, 22) of SMPL-22 joints.
    """
    camera, order = rig.select([0]), list(SMPL22.mirror_order)
    flip = torch.diag(camera.T_w2c.new_tensor([-1.0, 1.0, 1.0, 1.0]))
    width, K4 = camera.size[..., 0], camera.K4.clone()
    K4[..., 2] = width - K4[..., 2]
    across = torch.stack([width[:, :, None] - pixels[..., 0], pixels[..., 1]], -1)
    return Rig(camera.size, K4, flip @ camera.T_w2c @ flip), across[:, :, order], conf[:, :, order]


def mirrored_back(mirrored: Prediction) -> Prediction:
    """The prediction for a track from that for its mirror image."""
    order, feet = list(SMPL22.mirror_order), [1, 0, 3, 2]
    return Prediction(
        mirrored.plane[:, :, order] * mirrored.plane.new_tensor([-1.0, 1.0]),
        mirrored.along[:, :, order],
        mirrored.log_along[:, :, order],
        mirrored.log_across[:, :, order],
        mirrored.contact[..., feet],
    )


def averaged(one: Prediction, other: Prediction) -> Prediction:
    """Mean of two predictions for a track."""
    return Prediction(
        (one.plane + other.plane) / 2,
        (one.along + other.along) / 2,
        (one.log_along + other.log_along) / 2,
        (one.log_across + other.log_across) / 2,
        (one.contact + other.contact) / 2,
    )


def read_outputs(outputs: Tensor, track: RayTrack) -> Prediction:
    """Prediction from network outputs (B, L, NUM_OUTPUTS). For visible joints, the output is a correction of the
    observation."""
    joints = outputs[..., : 7 * JOINTS].unflatten(-1, (JOINTS, 7))
    free = joints[..., 2:4] + joints.new_tensor([0.0, MID_HEIGHT])
    plane = torch.where(track.seen[..., None], track.plane + 0.2 * joints[..., :2], free)
    low, high = LOG_SCALES
    scales = (joints[..., 5:] - 3.0).clamp(low, high)
    return Prediction(plane, joints[..., 4], scales[..., 0], scales[..., 1], outputs[..., 7 * JOINTS :])
