"""Tables that assign to every SMPL-22 joint a joint, or a point between two joints, of another skeleton."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.motion_files.bone_names import bone_names, known_bone_names

END_SITE = "End Site"
_FARTHEST = 100.0  # lengths of a bone; no joint lies that far from it
# Common names of the end site of a joint: LeftFoot_End, LeftFoot/End Site, LeftFootEndSite.
_END_OF = re.compile(r"(.+?)[\s_./:|-]*end(?:[\s_-]*site)?", re.IGNORECASE)
# What programs put before the names of joints.
_NAMESPACE = re.compile(r".*:|mixamorig\d*_")


@dataclass(frozen=True)
class Between:
    """A point on the line between two source joints.

    Attributes:
        start: source joint at fraction 0.
        end: source joint at fraction 1.
        fraction: position between them; 0.5 is the midpoint.
    """

    start: str
    end: str
    fraction: float = 0.5


@dataclass(frozen=True)
class JointMap:
    """Rules for the joints of `skeleton` from the joints of a source.

    Attributes:
        name: registry key.
        rules: target joint -> source joint name, or `Between`.
        skeleton: target skeleton.
    """

    name: str
    rules: Mapping[str, str | Between]
    skeleton: Skeleton = SMPL22

    def __post_init__(self) -> None:
        missing = [n for n in self.skeleton.joint_names if n not in self.rules]
        unknown = [n for n in self.rules if n not in self.skeleton.joint_names]
        if missing or unknown:
            raise ValueError(
                f"Joint map '{self.name}' must name every joint of '{self.skeleton.name}' once: "
                f"missing {missing}, unknown {unknown}."
            )

    def apply(
        self, positions: np.ndarray, joint_names: Sequence[str], end_names: Mapping[str, str] | None = None
    ) -> np.ndarray:
        """(T, N, 3) -> (T, J, 3).

        Args:
            positions: positions of the source points. joint_names: their N names. end_names: joint -> name of its end
                site point, if the source has such points.

        Raises:
            ValueError: source joints are missing; the message lists them and those of the clip.
        """
        index, ends = {name: i for i, name in enumerate(joint_names)}, end_names or {}
        rules, found = self._rules(), self._points(joint_names, ends)
        if missing := self.missing(joint_names, ends):
            joints = [name for name in joint_names if name not in ends.values()]
            sites = f" and the end sites {[*ends.values()]}" if ends else ""
            raise ValueError(f"joints {missing} of joint map '{self.name}' are not in the file; it has {joints}{sites}")
        start = positions[:, [index[found[name] or ""] for name, _, _ in rules]]
        end = positions[:, [index[found[name] or ""] for _, name, _ in rules]]
        fraction = np.array([f for _, _, f in rules], dtype=positions.dtype)[:, None]
        return start + fraction * (end - start)

    def missing(self, joint_names: Sequence[str], end_names: Mapping[str, str] | None = None) -> list[str]:
        """The source joints of the map that are not among the points of a file, see `apply`."""
        return sorted(name for name, point in self._points(joint_names, end_names or {}).items() if point is None)

    def _rules(self) -> list[tuple[str, str, float]]:
        rules = (self.rules[n] for n in self.skeleton.joint_names)
        return [(r, r, 0.0) if isinstance(r, str) else (r.start, r.end, r.fraction) for r in rules]

    def _points(self, joint_names: Sequence[str], ends: Mapping[str, str]) -> dict[str, str | None]:
        plain: dict[str, str] = {}
        for name in joint_names:
            plain.setdefault(_without_namespace(name), name)
        return {name: _found(name, joint_names, plain, ends) for rule in self._rules() for name in rule[:2]}


def _without_namespace(name: str) -> str:
    """mixamorig:Hips, mixamorig9:Hips, mixamorig_Hips, Character1:Hips -> Hips."""
    return _NAMESPACE.sub("", name)


def _found(name: str, names: Sequence[str], plain: Mapping[str, str], ends: Mapping[str, str]) -> str | None:
    """The source point for a name of the map: a point with this name, an end site, or a point of another namespace."""
    if name in names:
        return name
    match = _END_OF.fullmatch(name)
    return (ends.get(match[1]) if match else None) or plain.get(_without_namespace(name))


def joint_map_from_dict(name: str, table: Mapping[str, object]) -> JointMap:
    """Joint map from plain values, as read from YAML: target -> name, {from, to, at}, or {joint: End Site}."""
    rules: dict[str, str | Between] = {}
    for target, value in table.items():
        if isinstance(value, str):
            rules[target] = value
        elif isinstance(value, Mapping) and {"from", "to"} <= value.keys() <= {"from", "to", "at"}:
            rules[target] = Between(str(value["from"]), str(value["to"]), _fraction(name, target, value.get("at", 0.5)))
        elif isinstance(value, Mapping) and [str(v).lower() for v in value.values()] == [END_SITE.lower()]:
            rules[target] = f"{next(iter(value))}/{END_SITE}"
        else:
            raise ValueError(
                f"Joint map '{name}', joint '{target}': expected a name or {{from, to, at}}, got {value!r}."
            )
    return JointMap(name, rules)


def _fraction(name: str, target: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _FARTHEST:
        shown = str(value)[:40]
        raise ValueError(f"Joint map '{name}', joint '{target}': 'at' is {shown}; expected a number such as 0.5.")
    return float(value)


_BANDAI_SIDE = {
    "hip": "UpperLeg",
    "knee": "LowerLeg",
    "ankle": "Foot",
    "foot": "Toes",
    "collar": "Shoulder",
    "shoulder": "UpperArm",
    "elbow": "LowerArm",
    "wrist": "Hand",
}
_ASF_SIDE = {
    "hip": "hipjoint",
    "knee": "femur",
    "ankle": "tibia",
    "foot": "foot",
    "shoulder": "clavicle",
    "elbow": "humerus",
    "wrist": "wrist",
}
_CMU_SIDE = {
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
    "foot": "ToeBase",
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "FingerBase",
}
_DAZ_SIDE = {
    "hip": "Thigh",
    "knee": "Shin",
    "ankle": "Foot",
    "foot": "Foot_end",
    "shoulder": "Shldr",
    "elbow": "ForeArm",
    "wrist": "Hand",
}

BANDAI_NAMCO = JointMap(
    "bandai_namco",
    {
        "pelvis": "Hips",
        "spine1": Between("Hips", "Spine"),
        "spine2": "Spine",
        "spine3": "Chest",
        "neck": "Neck",
        "head": "Head",
    }
    | {f"left_{ours}": f"{theirs}_L" for ours, theirs in _BANDAI_SIDE.items()}
    | {f"right_{ours}": f"{theirs}_R" for ours, theirs in _BANDAI_SIDE.items()},
)

# For ASF files, where a joint is the end of a bone. The radius ends within the forearm, the "wrist" bone at the wrist.
CMU_ASF = JointMap(
    "cmu_asf",
    {
        "pelvis": "root",
        "spine1": "lowerback",
        "spine2": "upperback",
        "spine3": Between("upperback", "thorax", 0.35),
        "neck": "lowerneck",
        "head": "upperneck",
    }
    | {f"{side}_collar": Between("thorax", f"{side[0]}clavicle", 0.45) for side in ("left", "right")}
    | {f"{side}_{ours}": f"{side[0]}{theirs}" for side in ("left", "right") for ours, theirs in _ASF_SIDE.items()},
)

# Of BVH conversions with 31 joints, after `restore_lost_bones` of `importers.cmu_files`.
CMU = JointMap(
    "cmu",
    {
        "pelvis": "Hips",
        "spine1": "Spine",
        "spine2": "Spine1",
        "spine3": Between("Spine1", "Neck", 0.35),
        "neck": "Neck1",
        "head": "Head",
        "left_collar": Between("Neck", "LeftArm", 0.45),
        "right_collar": Between("Neck", "RightArm", 0.45),
    }
    | {f"left_{ours}": f"Left{theirs}" for ours, theirs in _CMU_SIDE.items()}
    | {f"right_{ours}": f"Right{theirs}" for ours, theirs in _CMU_SIDE.items()},
)

# Of BVH conversions to the Daz figure with 43 joints, end sites kept. Its "hip" is below the hip joints; the points of
# the torso have the heights of the ASF files.
CMU_DAZ = JointMap(
    "cmu_daz",
    {
        "pelvis": Between("hip", "abdomen", 0.6),
        "spine1": Between("abdomen", "chest", 0.3),
        "spine2": Between("chest", "neck", 0.17),
        "spine3": Between("chest", "neck", 0.36),
        "neck": "neck",
        "head": "head",
    }
    | {f"{side}_collar": Between(f"{side[0]}Collar", f"{side[0]}Shldr", 0.6) for side in ("left", "right")}
    | {f"{side}_{ours}": f"{side[0]}{theirs}" for side in ("left", "right") for ours, theirs in _DAZ_SIDE.items()},
)

# Of the BVH files that `export` writes, by each of its `--bones`.
OWN = tuple(
    JointMap(bones, dict(zip(SMPL22.joint_names, bone_names(bones), strict=True))) for bones in known_bone_names()
)

JOINT_MAPS = {m.name: m for m in (BANDAI_NAMCO, CMU, *OWN)}  # for BVH files without other conversions


def fitting_maps(joint_names: Sequence[str]) -> list[str]:
    """The built-in maps whose joints are all among these names."""
    return sorted(name for name, joint_map in JOINT_MAPS.items() if not joint_map.missing(joint_names))
