"""Joint conventions of motion sources: directions of the bones of a person who stands and looks ahead.

Sources define head and toe joints differently: the head joint of the same person is above the neck in one and in front
    of it in another. A mesh that simply points its own bones along those of the motion then looks up, or stands on its
    toes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.light_body import load_light_body
from hmr4d.body.retarget import SMPL_MEAN_BONES
from hmr4d.body.skeleton import SMPL22

CONVENTIONS = Path(__file__).parent / "resources" / "joint_conventions.json"
METADATA_KEY = "joint_convention"  # metadata key of the joint convention of a motion
SEVERAL = "+"  # between the names of motion from several sources, that of most motion first
MEAN_BONES = "smpl_mean"  # stands last, for motion of any source that was put on the mean SMPL bones
STILL = 0.08  # meters per second; in a standing person only the arms move faster
UPRIGHT = 0.985  # cosine of 10 degrees between the torso and the vertical
TALL = 0.9  # share of the greatest height of the pelvis
ON_FLOOR = 0.02  # meters; toes of a standing person are lower
SLOW_FOOT = 0.15  # meters per second of ankle and toes of a foot that stands
LOW_FOOT = 0.05  # meters over the lowest toes of the clip
LEAST_STANCES = 3  # frames of a foot that stands, for a direction that means something


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, Any]]:
    return json.loads(CONVENTIONS.read_text(encoding="utf-8"))["conventions"]


def _table(convention: str | None) -> dict[str, Any]:
    """Entry of a convention; for several names, of the first; empty for mean bones alone."""
    first = str(convention).split(SEVERAL)[0]
    return {} if first == MEAN_BONES else _tables()[first]


def known_conventions() -> tuple[str, ...]:
    """Names that `bone_directions` takes."""
    return tuple(_tables())


def convention_of(metadata: Mapping[str, Any] | None) -> str | None:
    """The convention in a motion's metadata; None if there is none.

    Raises:
        ValueError: unknown name.
    """
    name = (metadata or {}).get(METADATA_KEY)
    if name is not None and not set(str(name).split(SEVERAL)) <= {*_tables(), MEAN_BONES}:
        raise ValueError(f"Unknown {METADATA_KEY} {name!r}; known: {', '.join(known_conventions())}. Leave it out.")
    return name


def convention_metadata(convention: str | None) -> dict[str, str]:
    """Metadata with the name of a convention; empty for None."""
    return {} if convention is None else {METADATA_KEY: convention}


def source_convention(source: str) -> str | None:
    """The convention of motion from a source, such as "bandai_namco"; None if the source has none."""
    return source if source in _tables() else None


def joined_convention(conventions: Sequence[str | None]) -> str | None:
    """One name for motion from sources of these conventions, that of most motion first; None if none has a name."""
    names = dict.fromkeys(part for name in conventions if name is not None for part in name.split(SEVERAL))
    return SEVERAL.join(sorted(names, key=lambda name: name == MEAN_BONES)) or None


def retargeted_convention(convention: str | None, retarget: str) -> str | None:
    """The convention of motion after `retarget`, "none" or "smpl_mean": its directions, and the lengths it has now."""
    return joined_convention([convention, MEAN_BONES]) if retarget == "smpl_mean" else convention


def convention_of_motion(convention: str | None, joints3d: Tensor, fps: float) -> str | None:
    """The convention of a motion; of several names, the one that matches the standing feet of the motion.

    A model trained on several sources places the toes like the source of each action.

    Args:
        convention: one name, or several with "+" between.
        joints3d: (L, 22, 3) meters, y up.
        fps: frames per second.

    Returns:
        One name; the first one where no foot of the motion stands.
    """
    if convention is None or SEVERAL not in convention:
        return convention
    names = [name for name in convention.split(SEVERAL) if name != MEAN_BONES]
    slope = standing_foot_slope(joints3d, fps=fps) if len(names) > 1 else None
    if slope is None:
        return names[0]
    rest = load_light_body().rest_joints
    return min(names, key=lambda name: abs(float(_foot_slopes(rest_in_convention(rest, name)).mean()) - slope))


def standing_foot_slope(joints3d: Tensor, *, fps: float) -> float | None:
    """Median angle in degrees by which the bone from ankle to toes rises, of feet that stand; None where none does.

    Args:
        joints3d: (L, 22, 3) meters, y up.
        fps: frames per second.
    """
    ankles, toes = (list(SMPL22.indices(f"left_{part}", f"right_{part}")) for part in ("ankle", "foot"))
    speed = torch.full_like(joints3d[:, toes, 0], torch.inf)
    for joints in (ankles, toes):
        moved = (joints3d[1:, joints] - joints3d[:-1, joints]).norm(dim=-1) * fps
        speed[1:] = moved if joints is ankles else speed[1:].maximum(moved)
    heights = joints3d[:, toes, 1]
    stands = (speed < SLOW_FOOT) & (heights < heights.min() + LOW_FOOT)
    return float(_foot_slopes(joints3d)[stands].median()) if stands.sum() >= LEAST_STANCES else None


def _foot_slopes(joints3d: Tensor) -> Tensor:
    """(..., 2) degrees by which the bones from the ankles to the toes of joints (..., 22, 3) rise."""
    ankles, toes = (list(SMPL22.indices(f"left_{part}", f"right_{part}")) for part in ("ankle", "foot"))
    bones = joints3d[..., toes, :] - joints3d[..., ankles, :]
    return (bones[..., 1] / bones.norm(dim=-1).clamp(min=1e-9)).clamp(-1.0, 1.0).asin().rad2deg()


def bone_directions(convention: str | None) -> dict[int, Tensor]:
    """Unit vectors (3,) of the bones that a convention defines, by the SMPL-22 joint at their end; empty for None.

    Of several names the first one counts, here and below.

    Raises:
        ValueError: unknown convention.
    """
    if convention_of({METADATA_KEY: convention}) is None:
        return {}
    directions: dict[int, Tensor] = {}
    for name, values in _table(convention).get("directions", {}).items():
        joint = SMPL22.index(name)
        direction = torch.tensor(values, dtype=torch.float64)
        directions[joint] = direction / direction.norm()
        if (twin := SMPL22.mirror_order[joint]) != joint:
            directions[twin] = directions[joint] * torch.tensor([-1.0, 1.0, 1.0])
    return directions


def foot_heights(convention: str | None) -> dict[str, float]:
    """Heights in meters of the foot joints of a standing person, by part ("ankle", "foot"); empty for None.

    Raises:
        ValueError: unknown convention.
    """
    if convention_of({METADATA_KEY: convention}) is None:
        return {}
    return dict(_table(convention).get("foot_heights", {}))


def bone_lengths(convention: str | None, rest_joints: Tensor) -> Tensor:
    """(21,) bone lengths of SMPL-22 in meters for a convention: its medians, or else those of a body at rest.

    Mean bones among the names of a convention count first.

    Args:
        convention: None: the body's.
        rest_joints: (22, 3) meters.

    Raises:
        ValueError: unknown convention.
    """
    parents, children = (list(ends) for ends in zip(*SMPL22.bones, strict=True))
    lengths = (rest_joints[children] - rest_joints[parents]).norm(dim=-1)
    if convention_of({METADATA_KEY: convention}) is None:
        return lengths
    is_mean = MEAN_BONES in str(convention).split(SEVERAL)
    known = SMPL_MEAN_BONES if is_mean else _table(convention).get("bone_lengths", {})
    parts = [SMPL22.joint_names[child].removeprefix("left_").removeprefix("right_") for child in children]
    return torch.stack(
        [lengths.new_tensor(known[part]) if part in known else own for part, own in zip(parts, lengths, strict=True)]
    )


def rest_in_convention(rest_joints: Tensor, convention: str | None, lengths: Tensor | None = None) -> Tensor:
    """Rest joints (22, 3) with the bone directions of a convention; descendants of a rotated bone move with it.

    Args:
        rest_joints: (22, 3) meters, of a body.
        convention: None: the body's.
        lengths: (21,) meters of the bones, see `bone_lengths`; None: they stay.
    """
    rest, directions = rest_joints.clone(), bone_directions(convention)
    for number, (parent, joint) in enumerate(SMPL22.bones if directions or lengths is not None else ()):
        bone = rest_joints[joint] - rest_joints[parent]
        if joint in directions:
            bone = directions[joint].to(rest) * bone.norm()
        if lengths is not None:
            bone = bone * (lengths[number] / bone.norm())
        rest[joint] = rest[parent] + bone
    return rest


def standing_directions(joints3d: Tensor, *, fps: float) -> Tensor | None:
    """Median direction (22, 3) of the bone to every joint in the frame of a standing person.

    Used to measure conventions. x is to the person's left along the hips, y up, z forward.

    Args:
        joints3d: (L, 22, 3) meters, y up, floor at y = 0.
        fps: frames per second.

    Returns:
        Unit vectors, zero for the pelvis; None if there is no frame with an upright, still person on both feet.
    """
    body = list(SMPL22.indices("pelvis", "left_ankle", "right_ankle", "left_foot", "right_foot", "head"))
    toes, (left, right) = body[3:5], SMPL22.indices("left_hip", "right_hip")
    speed = torch.zeros_like(joints3d[:, 0, 0])
    speed[1:] = (joints3d[1:, body] - joints3d[:-1, body]).norm(dim=-1).amax(-1) * fps
    torso = joints3d[:, SMPL22.index("neck")] - joints3d[:, 0]
    stands = (speed < STILL) & (torso[:, 1] > UPRIGHT * torso.norm(dim=-1))
    stands &= (joints3d[:, 0, 1] > TALL * joints3d[:, 0, 1].max()) & (joints3d[:, toes, 1] < ON_FLOOR).all(-1)
    if not stands.any():
        return None
    frames = joints3d[stands]
    up = torch.tensor([0.0, 1.0, 0.0]).to(frames)
    across = (frames[:, left] - frames[:, right]) * (1 - up)
    across = across / across.norm(dim=-1, keepdim=True)
    axes = torch.stack([across, up.expand_as(across), torch.linalg.cross(across, up.expand_as(across))], -1)
    bones = torch.zeros_like(frames)
    for parent, child in SMPL22.bones:
        bones[:, child] = frames[:, child] - frames[:, parent]
    middle = (bones @ axes).median(0).values
    return middle / middle.norm(dim=-1, keepdim=True).clamp(min=1e-9)
