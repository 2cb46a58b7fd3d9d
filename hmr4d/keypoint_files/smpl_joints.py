"""SMPL joints derived from detector keypoints, so that a network of SMPL joints accepts any detector.

Shoulders, elbows, wrists, knees and ankles are copied. Pelvis, hips, spine, neck and collars are weighted means of the
detector's hips and shoulders, the head of ears and shoulders, feet of toes and heels. The weights sum to 1 and
reproduce the joints of the light body at rest as well as points of one plane can (within 2 mm across and 34 mm in
depth; other bodies and poses differ). They are affine, so they are valid in pixels and in meters, for any rotation of
torso and head. Joints that cannot be derived are missing, such as the feet of COCO keypoints.

Networks must be trained with such means (`LiftingViews`, `detector_share`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from hmr4d.body.joint_conversion import DETECTORS, convert_confidence, convert_joints, smpl_to_coco17
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import COCO17, SMPL22, Skeleton
from hmr4d.motion.canonical import mirror

MIXED_CONF = 0.5  # confidence of mixtures, at most
EVENNESS = 1e-5  # square meters; among weights that fit equally well the most even ones
_SIDES = ("left", "right")
_TAKEN_OVER = tuple(f"{side}_{part}" for part in ("shoulder", "elbow", "wrist", "knee", "ankle") for side in _SIDES)
_HIPS, _SHOULDERS, _EARS, _EYES = (
    tuple(f"{side}_{part}" for side in _SIDES) for part in ("hip", "shoulder", "ear", "eye")
)
_TORSO = (*_HIPS, *_SHOULDERS)
# Joint -> detector's keypoints to mix, the first of these that are all there.
_MIXED_FROM: Mapping[str, tuple[tuple[str, ...], ...]] = {
    **{name: (_TORSO,) for name in ("spine1", "spine2", "spine3")},
    **{name: (_TORSO, _HIPS) for name in ("pelvis", *_HIPS)},
    **{name: (_TORSO, _SHOULDERS) for name in ("neck", "left_collar", "right_collar")},
    "head": ((*_EARS, *_SHOULDERS), (*_EYES, *_SHOULDERS), ("nose", *_SHOULDERS)),
}
# The ball of the foot, behind the line of the toes; the tip of one toe is in front of the midpoint of big and small
# toe.
_FEET = ({"big_toe": 0.4, "small_toe": 0.4, "heel": 0.2}, {"foot_index": 0.7, "heel": 0.3})
Rows = tuple[Tensor, Tensor]  # weights (J, K) and which keypoints they need (J, K)


def observed_joints(points: Tensor, conf: Tensor, source: Skeleton, target: Skeleton) -> tuple[Tensor, Tensor]:
    """Detections in the joints of a network: by `smpl22_from_detections`, or by `convert_joints` for other skeletons.

    Args:
        points: (..., J_source, C) pixels.
        conf: (..., J_source) in [0, 1], 0 for missing.
        source, target: skeletons.

    Returns:
        points (..., J_target, C), 0 where missing, and confidence (..., J_target).

    Raises:
        ValueError: joints of the target cannot be derived from the source.
    """
    if source.name == target.name:
        return points, conf
    if target.name == SMPL22.name and source.name in DETECTORS:
        return smpl22_from_detections(points, conf, source)
    mixed = convert_confidence(conf, source, target)
    return convert_joints(points, source, target) * (mixed > 0)[..., None], mixed


def observed_depth(depth: Tensor, source: Skeleton, target: Skeleton) -> Tensor:
    """Depth (..., J_target) in meters of a network's joints from (..., J_source), NaN if unknown."""
    known = depth.isfinite()
    values, conf = observed_joints(torch.where(known, depth, 0.0)[..., None], known.to(depth), source, target)
    return torch.where(conf > 0, values[..., 0], torch.nan)


def smpl22_from_detections(points: Tensor, conf: Tensor, source: Skeleton) -> tuple[Tensor, Tensor]:
    """SMPL-22 joints derived from detector keypoints.

    Args:
        points: (..., K, C) pixels or meters.
        conf: (..., K) in [0, 1], 0 for missing.
        source: skeleton of a detector.

    Returns: points (..., 22, C), 0 where missing, and confidence (..., 22): the minimum of the used keypoints, at most
        `MIXED_CONF` for weighted means.

    Raises:
        ValueError: the skeleton is not a detector's.
    """
    if source.name not in DETECTORS:
        raise ValueError(f"Skeleton '{source.name}' is not a detector's; expected one of {sorted(DETECTORS)}.")
    points = torch.where(conf[..., None] > 0, points, 0.0)  # missing ones may be NaN
    joints = points.new_zeros(*points.shape[:-2], SMPL22.num_joints, points.shape[-1])
    found = conf.new_zeros(*conf.shape[:-1], SMPL22.num_joints)
    for weights, needed in _choices(source):
        least = conf[..., None, :].masked_fill(~needed.to(conf.device), torch.inf).amin(-1)
        least = torch.where(needed.any(-1).to(conf.device), least, 0.0)
        least = torch.where((needed.sum(-1) > 1).to(conf.device), least.clamp(max=MIXED_CONF), least)
        takes = (found == 0) & (least > 0)
        joints = torch.where(takes[..., None], weights.to(points) @ points, joints)
        found = torch.where(takes, least, found)
    return joints, found


@lru_cache(maxsize=8)
def _choices(source: Skeleton) -> tuple[Rows, ...]:
    """First, second and third choice of every joint; rows of zeros if there is none."""
    options = [_mixtures(name, source) for name in SMPL22.joint_names]
    rows: list[Rows] = []
    for rank in range(max(map(len, options))):
        weights = torch.zeros(SMPL22.num_joints, source.num_joints, dtype=torch.float64)
        for joint, mixtures in enumerate(options):
            for name, weight in mixtures[rank].items() if rank < len(mixtures) else ():
                weights[joint, source.index(name)] = weight
        rows.append((weights, weights != 0))
    return tuple(rows)


def _mixtures(name: str, source: Skeleton) -> list[dict[str, float]]:
    """Weights of keypoints that the source has, for one SMPL joint, best choice first."""
    if name in _TAKEN_OVER:
        return [{name: 1.0}]
    if name.endswith("_foot"):
        side = name.removesuffix("_foot")
        mixtures = [{f"{side}_{part}": weight for part, weight in foot.items()} for foot in _FEET]
        return [mixture for mixture in mixtures if mixture.keys() <= set(source.joint_names)]
    known = [names for names in _MIXED_FROM[name] if set(names) <= set(source.joint_names)]
    return [dict(zip(names, _weights_at_rest(name, names), strict=True)) for names in known]


def _weights_at_rest(name: str, keypoints: tuple[str, ...]) -> list[float]:
    """Affine weights that mix a joint of the light body at rest from its COCO keypoints, in least squares."""
    rest = load_light_body().rest_joints.double()
    rest = (rest + mirror(rest)) / 2  # it is only symmetric to a millimeter
    points = smpl_to_coco17(rest)[list(COCO17.indices(*keypoints))]  # (K, 3)
    middle = points.mean(0)
    edges = points - middle
    normal = edges @ edges.T + EVENNESS * torch.eye(len(edges), dtype=torch.float64)
    off_even = torch.linalg.solve(normal, edges @ (rest[SMPL22.index(name)] - middle))  # adds up to 0
    return (off_even + 1 / len(points)).tolist()
