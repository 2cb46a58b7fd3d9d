"""A clip prepared for geometric checks: heights, speeds, angles of a body of neutral height."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import align_to_floor

STANDING = 1.14  # pelvis height / (thigh + shank) of a straight standing body; real standing clips: 1.14
SMOOTHING = 0.04  # seconds; standard deviation of the filter before speeds are computed, so that jitter is not movement
LIFTED = 0.05  # meters over its rest height at which a foot is off the floor
SIDES = ("left", "right")


@dataclass(frozen=True)
class Figure:
    """One clip, prepared for the checks.

    Attributes:
        joints: (L, 22, 3) meters, neutral height, y up, lowest joint at 0; lightly smoothed over time.
        fps: frames per second.
    """

    joints: np.ndarray
    fps: float

    def at(self, name: str) -> np.ndarray:
        """(L, 3) path of a joint."""
        return self.joints[:, SMPL22.index(name)]

    def height(self, name: str) -> np.ndarray:
        """(L,) meters of a joint over the floor of the clip."""
        return self.at(name)[:, 1]

    def frames(self, seconds: float) -> int:
        """Frames in so many seconds, at least 1."""
        return max(round(seconds * self.fps), 1)

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.joints) / self.fps

    def velocity(self, path: np.ndarray) -> np.ndarray:
        """(L, C) derivative of a path (L, C) per second, by central differences."""
        return np.gradient(path, axis=0) * self.fps

    def speed(self, name: str, relative_to: str | None = None) -> np.ndarray:
        """(L,) m/s of a joint, optionally relative to another joint."""
        path = self.at(name) if relative_to is None else self.at(name) - self.at(relative_to)
        return np.linalg.norm(self.velocity(path), axis=-1)

    @cached_property
    def legs(self) -> float:
        """Meters of thigh and shank."""
        found = 0.0
        for side in SIDES:
            chain = [self.at(f"{side}_{name}") for name in ("hip", "knee", "ankle")]
            found += sum(
                float(np.median(np.linalg.norm(b - a, axis=-1))) for a, b in zip(chain[:-1], chain[1:], strict=True)
            )
        return found / 2

    @cached_property
    def stature(self) -> np.ndarray:
        """(L,) height of the pelvis as a fraction of the standing height."""
        return self.height("pelvis") / (STANDING * self.legs)

    @cached_property
    def across(self) -> np.ndarray:
        """(L, 2) unit vector (x, z) to the left of the body, from hips and shoulders."""
        span = self.at("left_hip") - self.at("right_hip") + self.at("left_shoulder") - self.at("right_shoulder")
        flat = span[:, [0, 2]]
        return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)

    @cached_property
    def yaw(self) -> np.ndarray:
        """(L,) degrees of the heading, continuous; it grows in a turn to the left."""
        x, z = self.across.T
        return np.degrees(np.unwrap(np.arctan2(-z, x)))

    @cached_property
    def travel(self) -> np.ndarray:
        """(L, 2) m/s of the pelvis in the body frame: (forward, left)."""
        velocity = self.velocity(self.at("pelvis")[:, [0, 2]])
        x, z = self.across.T
        left = velocity[:, 0] * x + velocity[:, 1] * z
        forward = -velocity[:, 0] * z + velocity[:, 1] * x
        return np.stack([forward, left], -1)

    @cached_property
    def pitch(self) -> np.ndarray:
        """(L,) tilt of the trunk from upright in degrees."""
        trunk = self.at("neck") - self.at("pelvis")
        return np.degrees(np.arccos(np.clip(trunk[:, 1] / np.linalg.norm(trunk, axis=-1), -1.0, 1.0)))

    @cached_property
    def lift(self) -> dict[str, np.ndarray]:
        """Side -> (L,) meters that the lower of ankle and toe is above its own place of rest.

        The place of rest is the 5 % quantile of the joint's height over the clip.
        """
        rise = {}
        for side in SIDES:
            heights = np.stack([self.height(f"{side}_{name}") for name in ("ankle", "foot")], -1)
            rise[side] = (heights - np.quantile(heights, 0.05, axis=0)).min(-1)
        return rise

    @cached_property
    def flight(self) -> np.ndarray:
        """(L,) bool: neither foot touches the floor."""
        return np.minimum(self.lift["left"], self.lift["right"]) >= LIFTED

    def over_shoulder(self, side: str) -> np.ndarray:
        """(L,) meters of the wrist above the shoulder of its side."""
        return self.height(f"{side}_wrist") - self.height(f"{side}_shoulder")

    def own_view(self, name: str) -> np.ndarray:
        """(L, 3) meters of a joint relative to the pelvis in the body frame: (left, up, forward)."""
        x, y, z = (self.at(name) - self.at("pelvis")).T
        ax, az = self.across.T
        return np.stack([x * ax + z * az, y, z * ax - x * az], -1)


def figure(joints3d: Tensor, fps: float) -> Figure:
    """A clip (L, 22, 3) in meters, y up, prepared for the checks: moved to the floor, scaled to the neutral height.

    Raises:
        ValueError: another shape, or fewer than four frames.
    """
    if joints3d.ndim != 3 or joints3d.shape[1:] != (SMPL22.num_joints, 3) or len(joints3d) < 4:
        raise ValueError(f"A clip is {tuple(joints3d.shape)}; the checks need (L, {SMPL22.num_joints}, 3), L >= 4.")
    batch, lengths = joints3d[None].double(), torch.tensor([len(joints3d)])
    placed = to_neutral_height(align_to_floor(batch, lengths), lengths)[0].cpu().numpy()
    return Figure(gaussian_filter1d(placed, SMOOTHING * fps, axis=0, mode="nearest"), fps)


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each run of True in (L,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def lasts(who: Figure, mask: np.ndarray, seconds: float) -> bool:
    """Whether (L,) bool is True for so long without a break."""
    return any(end - start >= who.frames(seconds) for start, end in stretches(mask))


def swings(path: np.ndarray, size: float) -> int:
    """How often (L,) turns back after moving at least `size`: the number of its reversals."""
    count, direction, extreme = 0, 0, float(path[0])
    low = high = float(path[0])
    for value in path.tolist():
        if direction == 0:
            low, high = min(low, value), max(high, value)
            if high - low >= size:
                direction, extreme = (1, high) if value == high else (-1, low)
        elif direction * (value - extreme) > 0:
            extreme = value
        elif direction * (extreme - value) >= size:
            count, direction, extreme = count + 1, -direction, value
    return count
