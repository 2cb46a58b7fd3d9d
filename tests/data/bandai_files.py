"""BVH files like those of the Bandai-Namco data set, made by the tests."""

from __future__ import annotations

import numpy as np

# A standing figure in centimeters, left at +x when it faces +z. Joints of the Bandai-Namco tree.
_BANDAI_REST = {
    "joint_Root": ("", (0, 0, 0)),
    "Hips": ("joint_Root", (0, 94, 0)),
    "Spine": ("Hips", (0, 16, 0)),
    "Chest": ("Spine", (0, 9, 0)),
    "Neck": ("Chest", (0, 16, 0)),
    "Head": ("Neck", (0, 6, 0)),
    "Shoulder_L": ("Chest", (5, 13, 0)),
    "UpperArm_L": ("Shoulder_L", (5, 0, 0)),
    "LowerArm_L": ("UpperArm_L", (24, 0, 0)),
    "Hand_L": ("LowerArm_L", (22, 0, 0)),
    "Shoulder_R": ("Chest", (-5, 13, 0)),
    "UpperArm_R": ("Shoulder_R", (-5, 0, 0)),
    "LowerArm_R": ("UpperArm_R", (-24, 0, 0)),
    "Hand_R": ("LowerArm_R", (-22, 0, 0)),
    "UpperLeg_L": ("Hips", (7, 0, 0)),
    "LowerLeg_L": ("UpperLeg_L", (0, -39, 0)),
    "Foot_L": ("LowerLeg_L", (0, -41, 0)),
    "Toes_L": ("Foot_L", (0, -7, 10)),
    "UpperLeg_R": ("Hips", (-7, 0, 0)),
    "LowerLeg_R": ("UpperLeg_R", (0, -39, 0)),
    "Foot_R": ("LowerLeg_R", (0, -41, 0)),
    "Toes_R": ("Foot_R", (0, -7, 10)),
}


def bandai_bvh_file(num_frames: int, *, seed: int = 0, step_cm: float = 4.0) -> bytes:
    """A Bandai-Namco-like file: six channels on all 22 joints, smooth random rotations, travel along +z."""
    rng = np.random.default_rng(seed)
    children: dict[str, list[str]] = {}
    for joint, (parent, _) in _BANDAI_REST.items():
        children.setdefault(parent, []).append(joint)
    order: list[str] = []
    lines = ["HIERARCHY"]

    def write(joint: str, keyword: str) -> None:
        order.append(joint)
        offset = " ".join(str(v) for v in _BANDAI_REST[joint][1])
        lines.extend([f"{keyword} {joint}", "{", f"OFFSET {offset}"])
        lines.append("CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation ")
        for child in children.get(joint, []):
            write(child, "JOINT")
        if joint not in children:
            lines.extend(["End Site", "{", "OFFSET 0 0 0", "}"])
        lines.append("}")

    write("joint_Root", "ROOT")
    lines.extend(["MOTION", f"Frames:\t{num_frames}", "Frame Time: 0.0333333"])
    phase = np.arange(num_frames)[:, None] / 30 * 2 * np.pi
    angles = 15 * np.sin(phase * rng.uniform(0.3, 1.0, 66) + rng.uniform(0, 6, 66))
    for frame in range(num_frames):
        row: list[float] = []
        for j, joint in enumerate(order):
            place = list(_BANDAI_REST[joint][1])
            if joint == "Hips":
                place[2] += step_cm * frame
            row += [*place, *(angles[frame, 3 * j : 3 * j + 3] if j > 1 else (0.0, 0.0, 0.0))]
        lines.append(" ".join(f"{v:.6g}" for v in row))
    return ("\n".join(lines) + "\n").encode()
