"""The packaged bodies: the light `anny` mesh on the SMPL-22 joints, and a figure of plain bones.

The light body is the free `anny` model at one shape, reduced to 22 joints; `hmr4d body-template` creates its file. The
notice of its sources is in the same folder.
"""

from __future__ import annotations

import json
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.body_model import Body
from hmr4d.body.retarget import smpl_mean_bone_lengths
from hmr4d.body.skeleton import SMPL22
from hmr4d.utils.files import atomic_path

LIGHT_BODY = Path(__file__).parent / "resources" / "anny_light.npz"
_WEIGHT_STEPS = 65535  # weights are stored as 16-bit integers
_RADIUS = (0.15, 0.012, 0.03)  # of a stick: fraction of its length, and its limits in meters
_TIPS = {  # parts beyond the last joints: direction, length and radius in meters
    "head": ((0.0, 1.0, 0.0), 0.20, 0.08),
    "left_wrist": ((1.0, 0.0, 0.0), 0.15, 0.03),
    "right_wrist": ((-1.0, 0.0, 0.0), 0.15, 0.03),
    "left_foot": ((0.0, 0.0, 1.0), 0.07, 0.02),
    "right_foot": ((0.0, 0.0, 1.0), 0.07, 0.02),
}


def save_body(path: str | Path, body: Body) -> None:
    """Writes a body as one `.npz` that `read_body` reads; weights are rounded to 1/65535."""
    words = {f.name: value for f in fields(body) if not isinstance(value := getattr(body, f.name), Tensor)}
    coco17 = body.coco17_weights
    rows, columns = (None, None) if coco17 is None else torch.nonzero(coco17, as_tuple=True)
    weights = np.round(_float32(body.skin_weights) * _WEIGHT_STEPS).astype(np.uint16)
    indices = np.where(weights > 0, body.skin_indices.cpu().numpy(), 0)
    arrays: dict[str, Any] = {
        "about": np.array(json.dumps(words | {"coco17_weights": coco17 is not None})),
        "rest_joints": _float32(body.rest_joints),
        "rest_vertices": _float32(body.rest_vertices),
        "faces": body.faces.cpu().numpy().astype(np.min_scalar_type(body.num_vertices)),
        "skin_indices": indices.astype(np.min_scalar_type(body.num_joints)),
        "skin_weights": weights,
    }
    if coco17 is not None and rows is not None and columns is not None:
        arrays |= {"coco17_rows": rows.numpy().astype(np.uint8), "coco17_weights": _float32(coco17[rows, columns])}
        arrays["coco17_vertices"] = columns.numpy().astype(np.min_scalar_type(body.num_vertices))
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_body(path: str | Path) -> Body:
    """The body of a file that `save_body` wrote.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: the file is not a body.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Body not found: {path}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        words = json.loads(str(arrays["about"]))
        weights = torch.from_numpy(arrays["skin_weights"].astype(np.float32))
        coco17 = None
        if words.pop("coco17_weights"):
            coco17 = torch.zeros(17, len(arrays["rest_vertices"]))
            places = (torch.from_numpy(arrays[f"coco17_{k}"].astype(np.int64)) for k in ("rows", "vertices"))
            coco17[tuple(places)] = torch.from_numpy(arrays["coco17_weights"])
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in words.items()}
        return Body(
            **plain,
            rest_joints=torch.from_numpy(arrays["rest_joints"]),
            rest_vertices=torch.from_numpy(arrays["rest_vertices"]),
            faces=torch.from_numpy(arrays["faces"].astype(np.int64)),
            skin_indices=torch.from_numpy(arrays["skin_indices"].astype(np.int64)),
            skin_weights=weights / weights.sum(-1, keepdim=True),
            coco17_weights=coco17,
        )
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, OSError) as error:
        raise ValueError(f"{path} is no body file of this package: {error}.") from error


@lru_cache(maxsize=1)
def load_light_body() -> Body:
    """The light `anny` body: 22 joints, free to use for any purpose."""
    return read_body(LIGHT_BODY)


def fold_to_smpl22(body: Body, *, name: str) -> Body:
    """A body with only the SMPL-22 joints: every other joint moves with its nearest SMPL ancestor.

    Weights of joints that move together are added up, and the four largest are kept.
    """
    follows: list[int] = []
    for joint, parent in enumerate(body.parents):
        driver = body.drivers[joint]
        follows.append(driver if driver >= 0 else follows[parent])
    weights = torch.zeros(body.num_vertices, SMPL22.num_joints, dtype=body.skin_weights.dtype)
    weights.scatter_add_(1, torch.tensor(follows)[body.skin_indices], body.skin_weights)
    indices, weights = largest_weights(weights)
    return Body(
        name=name,
        joint_names=SMPL22.joint_names,
        parents=SMPL22.parents,
        licence=body.licence,
        rest_joints=body.rest_joints[list(body.smpl22)],
        rest_vertices=body.rest_vertices,
        faces=body.faces,
        skin_indices=indices,
        skin_weights=weights,
        smpl22=tuple(range(SMPL22.num_joints)),
        drivers=tuple(range(SMPL22.num_joints)),
        coco17_weights=body.coco17_weights,
    )


def largest_weights(weights: Tensor, count: int = 4) -> tuple[Tensor, Tensor]:
    """The `count` largest of dense skinning weights (V, J): joints (V, count) and weights (V, count) with sum 1."""
    values, indices = weights.topk(min(count, weights.shape[1]), dim=1)
    return torch.where(values > 0, indices, 0), values / values.sum(1, keepdim=True)


@lru_cache(maxsize=1)
def stick_body() -> Body:
    """A figure of rigid bones on the mean SMPL skeleton: one octahedron per bone, with head, hands and feet."""
    joints = load_light_body().with_bone_lengths(torch.from_numpy(smpl_mean_bone_lengths())).rest_joints
    sticks: list[tuple[int, Tensor, float | None]] = [(p, joints[c], None) for p, c in SMPL22.bones]
    for joint, (direction, length, radius) in _TIPS.items():
        index = SMPL22.index(joint)
        sticks.append((index, joints[index] + length * torch.tensor(direction), radius))
    vertices = torch.cat([_octahedron(joints[joint], end, radius) for joint, end, radius in sticks])
    owners = torch.tensor([joint for joint, _, _ in sticks]).repeat_interleave(6)
    ring = [(1, 2), (2, 3), (3, 4), (4, 1)]
    faces = torch.tensor([f for a, b in ring for f in ((0, a, b), (5, b, a))])
    first = {joint: 6 * i for i, (joint, _, _) in reversed(list(enumerate(sticks)))}  # a vertex at each joint
    return Body(
        name="stick",
        joint_names=SMPL22.joint_names,
        parents=SMPL22.parents,
        licence="CC0 1.0",
        rest_joints=joints,
        rest_vertices=vertices,
        faces=torch.cat([faces + 6 * i for i in range(len(sticks))]),
        skin_indices=torch.nn.functional.pad(owners[:, None], (0, 3)),
        skin_weights=torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(len(owners), 1),
        smpl22=tuple(range(SMPL22.num_joints)),
        drivers=tuple(range(SMPL22.num_joints)),
        coco17_weights=_stick_coco17(first, len(owners)),
    )


def _octahedron(start: Tensor, end: Tensor, radius: float | None) -> Tensor:
    """(6, 3): a point at the start, a ring (on a bone that points up: left, front, right, back), one at the end."""
    bone = end - start
    length = bone.norm()
    share, least, most = _RADIUS
    width = float((share * length).clamp(least, most)) if radius is None else radius
    along = bone / length
    front = torch.tensor([0.0, 0.0, 1.0] if abs(float(along[2])) < 0.9 else [0.0, -1.0, 0.0])
    side = torch.linalg.cross(along, front)
    side = side / side.norm()
    front = torch.linalg.cross(side, along)
    middle = start + bone * (0.2 if radius is None else 0.5)
    ring = (middle + width * direction for direction in (side, front, -side, -front))
    return torch.stack([start, *ring, end])


def _stick_coco17(first: dict[int, int], num_vertices: int) -> Tensor:
    """(17, V): face points on the octahedron of the head, all others at their joints."""
    left, front, right = (first[SMPL22.index("head")] + k for k in (1, 2, 3))
    weights = torch.zeros(17, num_vertices)
    weights[0, front] = weights[3, left] = weights[4, right] = 1.0
    weights[1, [front, left]] = weights[2, [front, right]] = torch.tensor([0.7, 0.3])
    for row, name in enumerate(("shoulder", "elbow", "wrist", "hip", "knee", "ankle")):
        for side, prefix in enumerate(("left", "right")):
            weights[5 + 2 * row + side, first[SMPL22.index(f"{prefix}_{name}")]] = 1.0
    return weights


def _float32(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().astype(np.float32)
