"""Made-up files of the three forms in which the CMU database comes, all of one skeleton and one motion."""

from __future__ import annotations

import math

import numpy as np

UNIT = 0.0254 / 0.45  # meters
# Bone of an ASF file -> joint of a 31-joint BVH conversion that holds its rotation, parent, vector in file units,
# number of angles. The thorax is as long as the upper back, the last third of the forearm half as long as the rest.
_SIDE = {
    "hipjoint": ("HipJoint", "root", (1.5, -1.8, 0.6), 0),
    "femur": ("UpLeg", "hipjoint", (0.0, -7.0, 0.0), 3),
    "tibia": ("Leg", "femur", (0.0, -7.2, 0.0), 3),
    "foot": ("Foot", "tibia", (0.2, -0.5, 2.2), 3),
    "toes": ("ToeBase", "foot", (0.0, 0.0, 1.0), 3),
    "clavicle": ("Shoulder", "thorax", (3.4, 1.0, 0.0), 3),
    "humerus": ("Arm", "clavicle", (5.0, 0.0, 0.0), 3),
    "radius": ("ForeArm", "humerus", (3.2, 0.0, 0.0), 3),
    "wrist": ("Hand", "radius", (1.6, 0.0, 0.0), 3),
    "hand": ("FingerBase", "wrist", (0.7, 0.0, 0.0), 3),
}
BONES: dict[str, tuple[str, str, tuple[float, float, float], int]] = {
    "lowerback": ("LowerBack", "root", (0.0, 2.0, -0.1), 3),
    "upperback": ("Spine", "lowerback", (0.0, 2.1, 0.0), 3),
    "thorax": ("Spine1", "upperback", (0.0, 2.1, 0.0), 3),
    "lowerneck": ("Neck", "thorax", (0.0, 1.6, 0.1), 3),
    "upperneck": ("Neck1", "lowerneck", (0.0, 1.6, 0.0), 3),
    "head": ("Head", "upperneck", (0.0, 1.6, 0.0), 3),
}
for _letter, _word, _sign in (("l", "Left", 1.0), ("r", "Right", -1.0)):
    for _bone, (_joint, _above, (_x, _y, _z), _dofs) in _SIDE.items():
        _name = (_letter.upper() if _joint == "HipJoint" else _word) + _joint
        _parent = _letter + _above if _above in _SIDE else _above
        BONES[_letter + _bone] = (_name, _parent, (_sign * _x, _y, _z), _dofs)
_LOST = (
    "LeftShoulder",
    "RightShoulder",
    "Neck",
    "LeftFingerBase",
    "RightFingerBase",
    "LHipJoint",
    "RHipJoint",
    "LowerBack",
)


def motion(num_frames: int, *, seed: int = 0, fps: float = 120.0, walk: float = 0.5) -> dict[str, np.ndarray]:
    """Bone -> (T, n) values: gentle random rotations of all bones, the root upright and moving along +z."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_frames)[:, None] / fps
    angles = {
        bone: rng.uniform(2, 8, dofs) * np.sin(rng.uniform(1, 3, dofs) * time + rng.uniform(0, 6, dofs))
        for bone, (*_, dofs) in BONES.items()
        if dofs
    }
    place = np.concatenate([0 * time, 17.0 + 0 * time, walk / UNIT * time], axis=1)
    return {"root": np.concatenate([place, np.zeros((num_frames, 3))], axis=1)} | angles


def asf_text() -> str:
    lines = [":version 1.10", ":name TEST", ":units", " mass 1.0", " length 0.45", " angle deg", ":root"]
    lines += [" order TX TY TZ RX RY RZ", " axis XYZ", " position 0 0 0", " orientation 0 0 0", ":bonedata"]
    for bone, (_, _, vector, dofs) in BONES.items():
        length = np.linalg.norm(vector)
        direction = " ".join(f"{v / length:.9g}" for v in vector)
        lines += ["begin", f" name {bone}", f" direction {direction}", f" length {length:.9g}", " axis 0 0 0 XYZ"]
        lines += [" dof rx ry rz"] * bool(dofs) + ["end"]
    lines += [":hierarchy", "begin"]
    for parent in ("root", *BONES):
        if children := [bone for bone, (_, above, *_) in BONES.items() if above == parent]:
            lines.append(f" {parent} {' '.join(children)}")
    return "\n".join([*lines, "end", ""])


def amc_text(values: dict[str, np.ndarray]) -> str:
    lines = [":FULLY-SPECIFIED", ":DEGREES"]
    for frame in range(len(values["root"])):
        lines.append(str(frame + 1))
        lines += [f"{bone} {' '.join(f'{v:.8g}' for v in rows[frame])}" for bone, rows in values.items()]
    return "\n".join(lines) + "\n"


def bvh31_text(values: dict[str, np.ndarray], *, fps: float = 120.0) -> str:
    """The same motion after a T-pose, with the bones that the real conversions lose."""
    columns: list[np.ndarray] = []
    lines = ["HIERARCHY"]

    def write(bone: str, offset: tuple[float, float, float], keyword: str) -> None:
        joint = "Hips" if bone == "root" else BONES[bone][0]
        shown = (0.0, 0.0, 0.0) if joint in _LOST else offset
        lines.extend([f"{keyword} {joint}", "{", "OFFSET " + " ".join(f"{v:.9g}" for v in shown)])
        places = "6 Xposition Yposition Zposition" if bone == "root" else "3"
        lines.append(f"CHANNELS {places} Zrotation Yrotation Xrotation")
        rows = values.get(bone, np.zeros((len(values["root"]), 3)))
        columns.append(rows[:, :-3])
        columns.append(rows[:, :-4:-1])  # z, y, x
        tip = (0.0, 0.0, 0.0) if bone == "root" else BONES[bone][2]
        children = [child for child, (_, above, *_) in BONES.items() if above == bone]
        for child in children:
            write(child, tip, "JOINT")
        if not children:
            lines.extend(["End Site", "{", "OFFSET " + " ".join(f"{v:.9g}" for v in tip), "}"])
        lines.append("}")

    write("root", (0.0, 0.0, 0.0), "ROOT")
    table = np.concatenate(columns, axis=1)
    table = np.concatenate([np.where(np.arange(table.shape[1]) == 1, 17.0, 0.0)[None], table])
    lines += ["MOTION", f"Frames: {len(table)}", f"Frame Time: {1 / fps:.7f}"]
    return "\n".join([*lines, *(" ".join(f"{v:.8g}" for v in row) for row in table), ""])


# Joint of a Daz conversion -> parent, offset in centimeters. The head joint lies 17 degrees before the neck.
_DAZ: dict[str, tuple[str, tuple[float, float, float]]] = {
    "hip": ("", (0, 0, 0)),
    "abdomen": ("hip", (0, 20, 0)),
    "chest": ("abdomen", (0, 12, 0)),
    "neck": ("chest", (0, 22, 0)),
    "head": ("neck", (0, 7, 7 * math.tan(math.radians(17.0)))),
}
for _letter, _sign in (("l", 1.0), ("r", -1.0)):
    _parent = "chest"
    for _bone, _x, _y in (("Collar", 3, 19), ("Shldr", 9, 0), ("ForeArm", 28, 0), ("Hand", 23, 0)):
        _DAZ[_letter + _bone], _parent = (_parent, (_sign * _x, _y, 0)), _letter + _bone
    _parent = "hip"
    for _bone, _x, _y in (("Buttock", 9, 4), ("Thigh", 0, -2), ("Shin", 0, -37), ("Foot", 0, -45)):
        _DAZ[_letter + _bone], _parent = (_parent, (_sign * _x, _y, 0)), _letter + _bone


def daz_text(num_frames: int, *, fps: float = 120.0) -> str:
    """Somebody who stands with the arms spread after ten frames of something else."""
    children: dict[str, list[str]] = {}
    for joint, (parent, _) in _DAZ.items():
        children.setdefault(parent, []).append(joint)
    lines = ["HIERARCHY"]

    def write(joint: str, keyword: str) -> None:
        lines.extend([f"{keyword} {joint}", "{", "OFFSET " + " ".join(f"{v:.9g}" for v in _DAZ[joint][1])])
        places = "6 Xposition Yposition Zposition" if joint == "hip" else "3"
        lines.append(f"CHANNELS {places} Zrotation Yrotation Xrotation")
        for child in children.get(joint, []):
            write(child, "JOINT")
        if joint not in children:
            lines.extend(["End Site", "{", "OFFSET 0 -4 12" if joint.endswith("Foot") else "OFFSET 1 0 0", "}"])
        lines.append("}")

    write("hip", "ROOT")
    lines += ["MOTION", f"Frames: {num_frames + 10}", f"Frame Time: {1 / fps:.7f}"]
    rest = ["0 85 0" + " 0" * (3 * len(_DAZ))]
    return "\n".join([*lines, *(["90 10 90" + " 9" * (3 * len(_DAZ))] * 10), *(rest * num_frames), ""])
