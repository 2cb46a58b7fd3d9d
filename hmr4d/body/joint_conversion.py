"""Conversion of joints between skeletons: among detectors, and from SMPL joints to detector joints.

Joints with the same name are copied. Others are fixed weighted means, such as the neck between the shoulders. Face and
hips of detectors lie on the skin: from SMPL joints they are computed as fixed offsets in the frames of head and pelvis,
as on the light body of this package at rest, scaled by the leg length.

Remaining error: on the light body at rest, elbows, knees, ankles and shoulders of detectors are 17 to 21 mm from the
    SMPL joints, wrists 5 mm; these joints are copied unchanged. SMPL hips and COCO hips are 37 mm apart, which the
    offsets in the pelvis frame correct.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import (
    BODY25B,
    COCO17,
    H36M17,
    HALPE26,
    MEDIAPIPE33,
    OPENPOSE18,
    OPENPOSE25,
    SMPL22,
    SMPL24,
    WHOLEBODY23,
    Skeleton,
)

FOREARM_TO_HAND = {"left": 0.3438, "right": 0.3345}  # wrist to hand as a fraction of elbow to wrist, on the SMPL body
HEAD_TOP = 0.3  # fraction of the vector from thorax to nose, from the midpoint of eyes and ears to the H36M head
MIN_LENGTH = 1e-9  # meters; keeps frames of collapsed bodies finite
_SMPL = (SMPL22.name, SMPL24.name)
DETECTORS = tuple(s.name for s in (COCO17, H36M17, OPENPOSE18, OPENPOSE25, BODY25B, HALPE26, WHOLEBODY23, MEDIAPIPE33))
_HEAD_POINTS = COCO17.joint_names[:5]  # nose, eyes, ears
_HIPS = ("left_hip", "right_hip")
_SHOULDERS = ("left_shoulder", "right_shoulder")
Mixture = Mapping[str, float]  # source joint -> weight

# Joints that detectors may lack, as weighted means of others; the first one available in a source is used.
_MIDDLE_HIPS: Mixture = {"left_hip": 0.5, "right_hip": 0.5}
_MIDDLE_SHOULDERS: Mixture = {"left_shoulder": 0.5, "right_shoulder": 0.5}
_DETECTOR_MIXTURES: Mapping[str, tuple[Mixture, ...]] = {
    "pelvis": (_MIDDLE_HIPS,),
    "neck": (_MIDDLE_SHOULDERS,),
    "thorax": ({"neck": 1.0}, _MIDDLE_SHOULDERS),
    "spine": (
        {"pelvis": 0.5, "neck": 0.5},
        {"left_hip": 0.25, "right_hip": 0.25, "neck": 0.5},
        {"left_hip": 0.25, "right_hip": 0.25, "left_shoulder": 0.25, "right_shoulder": 0.25},
    ),
    "head": (
        {
            "left_eye": 0.25,
            "right_eye": 0.25,
            "left_ear": 0.25,
            "right_ear": 0.25,
            "nose": HEAD_TOP,
            "left_shoulder": -HEAD_TOP / 2,
            "right_shoulder": -HEAD_TOP / 2,
        },
    ),
}
_SMPL_MIXTURES: Mapping[str, tuple[Mixture, ...]] = {
    f"{side}_hand": ({f"{side}_wrist": 1 + share, f"{side}_elbow": -share},) for side, share in FOREARM_TO_HAND.items()
}


def convert_joints(joints: Tensor, source: Skeleton, target: Skeleton) -> Tensor:
    """Joints of `target` from those of `source`.

    Args:
        joints: (..., J_source, C). From SMPL to a detector's skeleton C = 3, meters; otherwise any C, 2 for pixels.
        source, target: supported pairs are SMPL-22 and SMPL-24; skeletons of detectors if the source has enough joints;
            SMPL to COCO-17, H36M-17 and OpenPose-18.

    Returns:
        (..., J_target, C).

    Raises:
        ValueError: joints of the target cannot be derived from the source; the message names them.
    """
    if joints.shape[-2] != source.num_joints:
        raise ValueError(f"Got {joints.shape[-2]} joints, but skeleton '{source.name}' has {source.num_joints}.")
    if source.name in _SMPL and target.name in DETECTORS:
        weights = _weights(COCO17, target)  # first, so that an impossible target is reported
        joints = smpl_to_coco17(joints)
    else:
        weights = _weights(source, target)
    return weights.to(joints) @ joints


def convert_confidence(confidence: Tensor, source: Skeleton, target: Skeleton) -> Tensor:
    """Confidence (..., J_target) of converted detections: the least of those that a joint is made of.

    Args:
        confidence: (..., J_source).
        source, target: as in `convert_joints`, but for SMPL to a detector's skeleton.

    Raises:
        ValueError: as there.
    """
    mixed = (_weights(source, target) != 0).to(confidence.device)
    return confidence[..., None, :].masked_fill(~mixed, float("inf")).amin(-1)


def smpl_to_coco17(joints3d: Tensor) -> Tensor:
    """What detectors of COCO keypoints see of SMPL-22 or SMPL-24 joints (..., J, 3), metres: (..., 17, 3)."""
    limbs = joints3d[..., SMPL22.indices(*COCO17.joint_names[5:]), :]
    scale = (_leg_length(joints3d) / _leg_length(load_light_body().rest_joints.to(joints3d)))[..., None]
    head, hips = _skin_offsets()
    face = _place(joints3d[..., [SMPL22.index("head")], :], head.to(joints3d) * scale, _head_frame(joints3d))
    own_hips = joints3d[..., SMPL22.indices(*_HIPS), :]
    skin_hips = _place(own_hips, hips.to(joints3d) * scale, _pelvis_frame(joints3d))
    return torch.cat([face, limbs[..., :6, :], skin_hips, limbs[..., 8:, :]], -2)


@lru_cache(maxsize=64)
def _weights(source: Skeleton, target: Skeleton) -> Tensor:
    """(J_target, J_source) float64 mixtures."""
    families = [name in _SMPL for name in (source.name, target.name)]
    mixtures = _SMPL_MIXTURES if families[0] else _DETECTOR_MIXTURES
    rows = torch.zeros(target.num_joints, source.num_joints, dtype=torch.float64)
    missing: list[str] = []
    for i, name in enumerate(target.joint_names):
        options = ({name: 1.0}, *mixtures.get(name, ()))
        known = next((m for m in options if m.keys() <= set(source.joint_names)), None)
        if known is None or families[0] != families[1]:
            missing.append(name)
            continue
        for joint, weight in known.items():
            rows[i, source.index(joint)] = weight
    if missing:
        raise ValueError(
            f"Joints {missing} of skeleton '{target.name}' cannot be derived from those of '{source.name}'. Choose a "
            "model with the skeleton of the source, or detections with more joints."
        )
    return rows


@lru_cache(maxsize=1)
def _skin_offsets() -> tuple[Tensor, Tensor]:
    """Nose, eyes, ears from the head joint (5, 3) and COCO hips from the SMPL hips (2, 3), in their frames, meters."""
    body = load_light_body()
    if body.coco17_weights is None:
        raise ValueError("The light body has no COCO keypoints. Rebuild its file: hmr4d body-template.")
    joints, keypoints = body.rest_joints.double(), body.coco17_weights.double() @ body.rest_vertices.double()
    head = keypoints[: len(_HEAD_POINTS)] - joints[SMPL22.index("head")]
    hips = keypoints[list(COCO17.indices(*_HIPS))] - joints[list(SMPL22.indices(*_HIPS))]
    return _symmetric(head @ _head_frame(joints), _HEAD_POINTS), _symmetric(hips @ _pelvis_frame(joints), _HIPS)


def _symmetric(offsets: Tensor, names: tuple[str, ...]) -> Tensor:
    """Offsets (P, 3) averaged with their mirror image, because the mesh is only symmetric to a millimeter."""
    twins = [COCO17.mirror_order[i] for i in COCO17.indices(*names)]
    order = [COCO17.indices(*names).index(i) for i in twins]
    return (offsets + offsets[order] * offsets.new_tensor([-1.0, 1.0, 1.0])) / 2


def _place(origin: Tensor, offsets: Tensor, frame: Tensor) -> Tensor:
    """Points (..., P, 3) at offsets (..., P, 3) in frames (..., 3, 3) whose columns are the axes."""
    return origin + offsets @ frame.mT


def _head_frame(joints3d: Tensor) -> Tensor:
    """Axes (..., 3, 3) left, up, forward as columns: up from neck to head, left along the shoulders.

    The joints do not contain the rotation of the head; it is assumed to face like the chest.
    """
    neck, head, left, right = (joints3d[..., i, :] for i in SMPL22.indices("neck", "head", *_SHOULDERS))
    up, left = _orthonormal(head - neck, left - right)
    return torch.stack([left, up, torch.linalg.cross(left, up)], -1)


def _pelvis_frame(joints3d: Tensor) -> Tensor:
    """Axes (..., 3, 3) left, up, forward as columns: left along the hips, up towards the lowest spine joint."""
    pelvis, spine, left, right = (joints3d[..., i, :] for i in SMPL22.indices("pelvis", "spine1", *_HIPS))
    left, up = _orthonormal(left - right, spine - pelvis)
    return torch.stack([left, up, torch.linalg.cross(left, up)], -1)


def _orthonormal(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors (..., 3): along `first`, and along the part of `second` orthogonal to it."""
    first = first / first.norm(dim=-1, keepdim=True).clamp(min=MIN_LENGTH)
    across = second - (second * first).sum(-1, keepdim=True) * first
    return first, across / across.norm(dim=-1, keepdim=True).clamp(min=MIN_LENGTH)


def _leg_length(joints3d: Tensor) -> Tensor:
    """(..., 1) meters from hip to ankle along the bones, mean of both legs."""
    hips, knees, ankles = (
        joints3d[..., SMPL22.indices(f"left_{part}", f"right_{part}"), :] for part in ("hip", "knee", "ankle")
    )
    lengths = (knees - hips).norm(dim=-1) + (ankles - knees).norm(dim=-1)
    return lengths.mean(-1, keepdim=True)
