"""Drawing style of a skeleton: colors by side, thickness and head; shared by videos, contact sheets and web pages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.body_model import Body
from hmr4d.body.skeleton import SMPL22, Skeleton

SIDES = ("left", "right", "center")
# Blue and orange are distinguishable for all common types of color blindness.
SIDE_COLORS = {"left": (43, 122, 214), "right": (240, 128, 42), "center": (104, 115, 132)}
JOINT_COLOR = (250, 250, 252)

# Meters at the near and far end of a chain; chosen visually for adult proportions.
_CHAIN_RADII = {"leg": (0.062, 0.036), "arm": (0.046, 0.030), "spine": (0.066, 0.050), "face": (0.030, 0.016)}
_DEFAULT_RADII = (0.045, 0.035)
_DOT_RATIO = 0.62
_HEAD_RADIUS = 0.105
_HEAD_OFFSET = 0.085  # meters from the head joint, at the base of the skull, to the center of the head


@dataclass(frozen=True)
class FigureStyle:
    """Drawing attributes of one skeleton.

    Attributes:
        bones: joint pairs; each is drawn as a capsule.
        bone_sides: side of each bone, an entry of SIDES.
        joint_radii: meters, radius of the limbs at each joint.
        dot_radii: meters, radius of the balls at the joints; 0 for a joint inside the head.
        joint_sides: side of each joint.
        head: (neck joint, head joint) of the head ball, or None.
        head_radius: meters.
        head_offset: meters from the head joint along neck → head.
    """

    bones: tuple[tuple[int, int], ...]
    bone_sides: tuple[str, ...]
    joint_radii: tuple[float, ...]
    dot_radii: tuple[float, ...]
    joint_sides: tuple[str, ...]
    head: tuple[int, int] | None
    head_radius: float = _HEAD_RADIUS
    head_offset: float = _HEAD_OFFSET

    def head_center(self, joints3d: NDArray[np.floating]) -> NDArray[np.floating]:
        """Center (..., 3) of the head ball for joints (..., J, 3); requires `head`."""
        assert self.head is not None
        neck, head = (joints3d[..., i, :] for i in self.head)
        axis = head - neck
        return head + self.head_offset * axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6)


@lru_cache(maxsize=16)
def figure_style(skeleton: Skeleton) -> FigureStyle:
    """Style of a skeleton, from the names of its joints (`left_…`, `right_…`) and chains (`…leg`, `…arm`, `spine`)."""
    sides = [next((s for s in SIDES[:2] if name.startswith(s)), "center") for name in skeleton.joint_names]
    radii = [_DEFAULT_RADII[0]] * skeleton.num_joints
    # The spine comes last, because the joints it shares with limbs take its style.
    for name, chain in sorted(skeleton.chains, key=lambda item: "spine" in item[0]):
        near, far = next((r for kind, r in _CHAIN_RADII.items() if kind in name), _DEFAULT_RADII)
        for joint, radius in zip(chain, np.linspace(near, far, len(chain)), strict=True):
            radii[joint] = float(radius)
    spine = next((chain for name, chain in skeleton.chains if name == "spine"), ())
    dots = [_DOT_RATIO * r for r in radii]
    # A head ball needs a joint at the base of the skull; head keypoints of detectors lie on the skin.
    head = tuple(spine[-2:]) if [skeleton.joint_names[i] for i in spine[-2:]] == ["neck", "head"] else None
    if head is not None:
        radii[head[1]] = 0.04
        radii[head[0]] = 0.045
        dots[head[1]] = 0.0
    return FigureStyle(
        bones=skeleton.limbs,
        bone_sides=tuple(_limb_side(sides[a], sides[b]) for a, b in skeleton.limbs),
        joint_radii=tuple(radii),
        dot_radii=tuple(dots),
        joint_sides=tuple(sides),
        head=None if head is None else (head[0], head[1]),
    )


def _limb_side(first: str, second: str) -> str:
    """Side of a bone: the side of its non-central end, or "center" for a bone between left and right."""
    return second if first in (second, "center") else first if second == "center" else "center"


def body_colors(body: Body) -> NDArray[np.float32]:
    """(V, 3) red, green, blue from 0 to 255 for the mesh of a body: blended colors of the sides."""
    sides = figure_style(SMPL22).joint_sides
    colors = np.zeros((body.num_joints, 3), np.float32)
    for joint, (parent, driver) in enumerate(zip(body.parents, body.drivers, strict=True)):
        colors[joint] = SIDE_COLORS[sides[driver]] if driver >= 0 or parent < 0 else colors[parent]
    return (body.skin_weights[..., None].cpu().numpy() * colors[body.skin_indices.cpu().numpy()]).sum(axis=1)


def facing_angle(joints3d: NDArray[np.floating], skeleton: Skeleton) -> float:
    """Angle about +y from +z to the mean facing direction, radians; the initial direction if the figure turns a lot.

    Args:
        joints3d: (L, J, 3) meters, y up.
        skeleton: its left/right pairs determine the front; without pairs the angle is 0.
    """
    left = [j for j, name in enumerate(skeleton.joint_names) if name.startswith("left")]
    if not left:
        return 0.0
    right = [skeleton.mirror_order[j] for j in left]
    across = (joints3d[:, left] - joints3d[:, right]).sum(axis=1)[:, [0, 2]]
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
    mean = across.mean(axis=0)
    x, z = mean if np.linalg.norm(mean) > 0.6 else across[0]
    return float(np.arctan2(-z, x))
