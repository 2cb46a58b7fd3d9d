"""Simulated detections of a batch of motions: keypoints of several detectors with their typical errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.body.joint_conversion import smpl_to_coco17
from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.data.lifting.corruptions import REFERENCE_SIDE, SWAPPED_PARTS
from hmr4d.geometry.rigs import Rig, project
from hmr4d.keypoint_files.gaps import bridge_gaps
from hmr4d.keypoint_files.smpl_joints import smpl22_from_detections

MIN_DEPTH = 0.1  # meters; joints at a smaller depth are not detected
_BALLS = SMPL22.indices("left_foot", "right_foot")
_FACE = {"ears": COCO17.indices("left_ear", "right_ear"), "eyes": COCO17.indices("left_eye", "right_eye")}


@dataclass(frozen=True)
class DetectionVariety:
    """Fraction of the tracks with each type of error, and its size.

    Attributes:
        detector_share: fraction of tracks whose SMPL joints are derived from detector keypoints, half of them with
            toes.
        noise_px: bound of the standard deviation of the noise, pixels of an image with a shorter side of 1080.
        noise: bound of the standard deviation relative to the side of the body's box, added in half of the tracks.
        exact_share: fraction of tracks with (nearly) no error.
        slow: bound of the fraction of the variance that is correlated over half a second.
        bias: standard deviation of a constant offset of each detector keypoint, meters.
        limb, dropout, swap, mirror: probabilities of a temporarily missing limb, temporarily missing person, and of a
            temporary exchange of left and right in the legs and in the whole body.
        outlier: bound of the outlier probability per joint and frame; outliers are off by `outlier_size` of the box.
        missing: bound of the probability that a joint is missing in a frame, in half of the tracks.
        legless, toeless: probabilities of tracks without legs below the hips and without toes.
    """

    detector_share: float = 0.45
    noise_px: float = 8.0
    noise: float = 0.02
    exact_share: float = 0.15
    slow: float = 0.5
    bias: float = 0.008
    limb: float = 0.15
    dropout: float = 0.1
    swap: float = 0.04
    mirror: float = 0.02
    outlier: float = 0.008
    outlier_size: float = 0.3
    missing: float = 0.1
    legless: float = 0.03
    toeless: float = 0.08


def detect(
    rig: Rig, joints3d: Tensor, valid: Tensor, variety: DetectionVariety, generator: torch.Generator, *, fps: float
) -> tuple[Tensor, Tensor]:
    """Simulates the detection of the SMPL-22 joints of motions (B, L, 22, 3) by view 0.

    Args:
        rig: cameras (B, 1, ...).
        joints3d: meters, world of the rig.
        valid: (B, L) bool.
        variety: distribution of the errors.
        generator: source of random numbers.
        fps: frames per second; determines which gaps are filled.

    Returns:
        pixels (B, L, 22, 2), 0 where missing, and seen (B, L, 22) bool.
    """
    count, length = valid.shape
    u = torch.rand(12, count, generator=generator)
    keypoints = smpl_to_coco17(joints3d)
    keypoints = keypoints + variety.bias * torch.randn(count, 1, 17, 3, generator=generator)
    everything = torch.cat([joints3d, keypoints], 2)
    pixels, depth = (x[:, 0] for x in project(rig, everything))
    pixels = pixels.clamp(-1e4, 1e4)
    own = pixels[:, :, :22]
    side = (own.amax(2) - own.amin(2)).amax(-1)[..., None]  # (B, L, 1) pixels
    pixels = torch.where(_during(variety.swap, count, length, generator)[..., None, None], pixels[:, :, _LEGS], pixels)
    both = _during(variety.mirror, count, length, generator)
    pixels = torch.where(both[..., None, None], pixels[:, :, _SIDES], pixels)
    level = variety.noise_px * u[0] * rig.size[:, 0].amin(-1) / REFERENCE_SIDE
    level = torch.where(u[1] < variety.exact_share, 0.05 * level, level)[:, None, None]
    rough = (u[1] > 0.5).float() * variety.noise * u[2]
    joint = 0.7 + 0.6 * torch.rand(count, 1, pixels.shape[2], generator=generator)
    sigma = (level + rough[:, None, None] * side) * joint
    slow = (variety.slow * u[3])[:, None, None, None]
    white = torch.randn(2, *pixels.shape, generator=generator)
    noise = (1 - slow).sqrt() * white[0] + slow.sqrt() * _slowed(white[1], 0.25 * fps)
    off = torch.rand(pixels.shape[:-1], generator=generator) < (variety.outlier * u[4])[:, None, None]
    sigma = torch.where(off, variety.outlier_size * side, sigma)
    pixels = pixels + sigma[..., None] * noise
    size = rig.size[:, :1, None]
    seen = ((pixels >= 0) & (pixels <= size - 1)).all(-1) & (depth > MIN_DEPTH) & valid[..., None]
    share = torch.where(u[5] < 0.5, 0.0, variety.missing * u[6])
    seen &= torch.rand(seen.shape, generator=generator) >= share[:, None, None]
    seen &= ~_during(variety.dropout, count, length, generator, longest=0.6 * fps)[..., None]
    for limb in _LIMBS:
        seen &= ~(_during(variety.limb, count, length, generator)[..., None] & limb)
    seen &= ~((u[7] < variety.legless)[:, None, None] & _BELOW)
    seen &= ~((u[8] < variety.toeless)[:, None, None] & _TOES)
    pixels, conf = bridge_gaps(pixels * seen[..., None], seen.float(), fps)
    conf = conf * valid[..., None]
    exact = pixels[:, :, :22], conf[:, :, :22]
    for part, without in (("ears", 0.3), ("eyes", 0.15)):  # some detectors have no ears, and half of these only a nose
        conf[:, :, [SMPL22.num_joints + k for k in _FACE[part]]] *= (u[9] > without)[:, None, None]
    mixed, detected = smpl22_from_detections(pixels[:, :, 22:], conf[:, :, 22:], COCO17)
    toes = list(_BALLS)
    has_toes = (u[10] < 0.5)[:, None, None]
    mixed[:, :, toes] = exact[0][:, :, toes]
    detected[:, :, toes] = exact[1][:, :, toes] * has_toes
    as_detector = (u[11] < variety.detector_share)[:, None, None]
    pixels = torch.where(as_detector[..., None], mixed, exact[0])
    seen = torch.where(as_detector, detected, exact[1]) > 0
    return pixels * seen[..., None], seen


def _during(
    chance: float, count: int, length: int, generator: torch.Generator, *, longest: float | None = None
) -> Tensor:
    """(B, L) bool, True in one random interval of randomly selected tracks."""
    u = torch.rand(3, count, 1, generator=generator)
    start = u[1] * length
    frames = torch.arange(length)
    inside = (frames >= start) & (frames <= start + u[2] * (length if longest is None else longest))
    return inside & (u[0] < chance)


def _slowed(white: Tensor, sigma: float) -> Tensor:
    """White noise (B, L, ...) smoothed over time and rescaled to unit variance."""
    reach = round(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    flat = white.flatten(2).transpose(1, 2).flatten(0, 1)[:, None]
    padded = F.pad(flat, (reach, reach), mode="reflect") if white.shape[1] > reach else F.pad(flat, (reach, reach))
    smooth = F.conv1d(padded, (kernel / kernel.norm())[None, None])[:, 0]
    return smooth.unflatten(0, (len(white), -1)).transpose(1, 2).reshape(white.shape)


def _named(*parts: str) -> Tensor:
    """(39,) bool over SMPL joints and COCO keypoints: whether the name has one of the endings."""
    return torch.tensor([name.endswith(parts) for name in (*SMPL22.joint_names, *COCO17.joint_names)])


def _twins(only_legs: bool) -> list[int]:
    """Permutation of SMPL joints and COCO keypoints that exchanges left and right, of all joints or of the legs."""
    order: list[int] = []
    for skeleton, first in ((SMPL22, 0), (COCO17, SMPL22.num_joints)):
        for joint, name in enumerate(skeleton.joint_names):
            swaps = not only_legs or name.split("_", 1)[-1] in SWAPPED_PARTS
            order.append(first + (skeleton.mirror_order[joint] if swaps else joint))
    return order


_LEGS, _SIDES = _twins(True), _twins(False)
_TOES, _BELOW = _named("_foot"), _named("_knee", "_ankle", "_foot")
_LIMBS = tuple(
    _named(*(f"{side}_{part}" for part in parts))
    for side in ("left", "right")
    for parts in (("shoulder", "elbow", "wrist"), ("knee", "ankle", "foot"))
)
