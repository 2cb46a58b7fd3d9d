"""Animated characters as GLB (glTF 2.0, one binary file): mesh, skeleton, skin and one motion.

Conventions are those of `Body`: meters, y up, rest pose facing +z, left at +x, joint frames parallel to the world at
    rest.
The pelvis has a position track and every joint a rotation track, with one key per frame and linear interpolation.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import torch
from torch import Tensor

from hmr4d.body.body_model import Body
from hmr4d.body.loading import load_body
from hmr4d.body.posed_body import PosedBody
from hmr4d.export.posing import FRAMES_PER_BLOCK, check_has_rest_pose, motion_metadata, residual_metadata, warn_if_off
from hmr4d.motion.motion import Motion
from hmr4d.motion.rigid_motion import RigidMotion, pose_motion
from hmr4d.motion.skinning import skin_to_motion
from hmr4d.motion_files.bone_names import OWN_NAMES, bone_names
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.files import atomic_path

AXES = "right-handed, y up, rest pose facing +z, left side at +x"
_MAGIC, _VERSION = b"glTF", 2
_FLOAT, _UINT8, _UINT16, _UINT32 = 5126, 5121, 5123, 5125  # component types of the format
_COMPONENTS = {"<f4": _FLOAT, "|u1": _UINT8, "<u2": _UINT16, "<u4": _UINT32}
_VERTICES, _INDICES = 34962, 34963  # targets of buffer views
_SKIN_COLOR = (0.62, 0.66, 0.72, 1.0)  # linear light; matt gray


def write_glb(
    path: str | os.PathLike[str], motion: Motion, *, bones: str = OWN_NAMES, body: Body | None = None
) -> RigidMotion:
    """Writes one motion atomically, on a body with the bone lengths of the motion.

    The format supports skinning only. The file therefore lacks the pose-dependent corrections of SMPL meshes.

    Args:
        path: file to write.
        motion: motion of SMPL-22 joints. The file contains its pose or, without one, rotations solved by inverse
            kinematics.
        bones: names of the joints: "smpl", "mixamo", "unreal" or "unity".
        body: body to write; None: the free light body. A body with the rest joints of the pose is written unchanged.

    Returns:
        The pose in the file, with the distance of its joints from the given ones (`mean`, `largest`).

    Raises:
        ValueError: the motion is invalid, a bone has no length, or the names are unknown.
        OSError: the file cannot be written.
    """
    check_has_rest_pose(motion, "GLB")
    metadata = motion_metadata(motion, axes=AXES)
    body = load_body() if body is None else body
    rigid = pose_motion(motion, body.rest_joints[list(body.smpl22)])
    posed = skin_to_motion(rigid.pose, body, convention=motion.joint_convention)
    metadata |= {"bones": bones, "residual": residual_metadata(rigid)}
    _write(path, _document(posed, metadata))
    warn_if_off(path, rigid, motion)
    return rigid


def continued_quats(quats: Tensor) -> Tensor:
    """The same rotations (L, J, 4), x y z w, with signs that make interpolation between frames take the short way.

    The first frame has w >= 0. Every other frame has the sign that is closer to the previous frame.
    """
    first = torch.where(quats[:1, :, 3] < 0, -1.0, 1.0)
    flips = torch.where((quats[1:] * quats[:-1]).sum(-1) < 0, -1.0, 1.0)
    return quats * torch.cat([first, flips]).cumprod(0)[..., None]


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals: mean normal of the adjacent faces, weighted by area; up for a vertex without faces."""
    a, b, c = vertices[faces].unbind(1)
    normals = torch.zeros_like(vertices)
    normals.index_add_(0, faces.flatten(), torch.linalg.cross(b - a, c - a).repeat_interleave(3, 0))
    length = normals.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, normals / length, torch.tensor([0.0, 1.0, 0.0]).to(vertices))


# ----------------------------------------------------------------------------------------------------------------------


def _document(posed: PosedBody, metadata: dict[str, Any]) -> tuple[dict[str, Any], _Buffer]:
    """JSON document and binary buffer of the file."""
    body = posed.body
    names = list(body.joint_names)
    for joint, name in zip(body.smpl22, bone_names(metadata["bones"]), strict=True):
        names[joint] = name if metadata["bones"] != OWN_NAMES else names[joint]
    about = {**metadata, "body": body.name, "body_licence": body.licence}
    buffer = _Buffer()
    root = body.rest_joints[body.parents.index(-1)] + posed.translation
    blocks = posed.rotations.split(FRAMES_PER_BLOCK)
    quats = continued_quats(torch.cat([roma.rotmat_to_unitquat(block).float() for block in blocks]))
    document = {
        "asset": {"version": "2.0", "generator": "hmr4d", "extras": about},
        "scene": 0,
        "scenes": [{"nodes": [0, body.num_joints + 1]}],
        "nodes": _nodes(body, names, quats[0], root[0], about),
        "meshes": [_mesh(body, buffer)],
        "materials": [_material(body.name)],
        "skins": [_skin(body, buffer)],
        "animations": [_animation(body, quats, root, metadata, buffer)],
    }
    document |= {"accessors": buffer.accessors, "bufferViews": buffer.views, "buffers": [{"byteLength": buffer.size}]}
    return document, buffer


class _Buffer:
    """The concatenated arrays of a file, and their accessors."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.size = 0

    def add(
        self, values: Tensor, kind: str, dtype: str = "<f4", *, target: int | None = None, bounds: bool = False
    ) -> int:
        """Adds values (N,) for SCALAR or (N, C) and returns the index of their accessor."""
        array = values.detach().cpu().numpy().astype(dtype)
        content = array.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.size, "byteLength": len(content)}
        accessor: dict[str, Any] = {
            "bufferView": len(self.views),
            "componentType": _COMPONENTS[dtype],
            "count": len(array),
            "type": kind,
        }
        if target is not None:
            view["target"] = target
        if bounds:
            columns = array.reshape(len(array), -1)
            accessor |= {"min": columns.min(0).tolist(), "max": columns.max(0).tolist()}
        content += bytes(-len(content) % 4)
        self.parts.append(content)
        self.size += len(content)
        self.views.append(view)
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _nodes(body: Body, names: list[str], quats: Tensor, root: Tensor, about: dict[str, Any]) -> list[dict[str, Any]]:
    """Nodes: the figure, its joints (node = joint + 1) in the pose of the first frame, and the mesh."""
    nodes: list[dict[str, Any]] = [{"name": body.name, "children": [1 + body.parents.index(-1)], "extras": about}]
    for joint, name in enumerate(names):
        is_root = body.parents[joint] < 0
        place = root if is_root else body.offsets[joint]
        node = {"name": name, "translation": place.tolist(), "rotation": quats[joint].tolist()}
        if children := [1 + c for c, p in enumerate(body.parents) if p == joint]:
            node["children"] = children
        nodes.append(node)
    return [*nodes, {"name": f"{body.name}_mesh", "mesh": 0, "skin": 0}]


def _mesh(body: Body, buffer: _Buffer) -> dict[str, Any]:
    index = "<u2" if body.num_vertices < 65536 else "<u4"
    joint = "|u1" if body.num_joints <= 256 else "<u2"
    weights = body.skin_weights.float()
    attributes = {
        "POSITION": buffer.add(body.rest_vertices, "VEC3", target=_VERTICES, bounds=True),
        "NORMAL": buffer.add(vertex_normals(body.rest_vertices, body.faces), "VEC3", target=_VERTICES),
        "JOINTS_0": buffer.add(torch.where(weights > 0, body.skin_indices, 0), "VEC4", joint, target=_VERTICES),
        "WEIGHTS_0": buffer.add(weights / weights.sum(-1, keepdim=True), "VEC4", target=_VERTICES),
    }
    faces = buffer.add(body.faces.flatten(), "SCALAR", index, target=_INDICES)
    return {"name": f"{body.name}_mesh", "primitives": [{"attributes": attributes, "indices": faces, "material": 0}]}


def _material(name: str) -> dict[str, Any]:
    surface = {"baseColorFactor": list(_SKIN_COLOR), "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"name": name, "pbrMetallicRoughness": surface}


def _skin(body: Body, buffer: _Buffer) -> dict[str, Any]:
    """Joints and their inverse bind matrices, column-major. At rest, a joint frame is the translated world frame."""
    inverse = torch.eye(4).repeat(body.num_joints, 1, 1)
    inverse[:, 3, :3] = -body.rest_joints
    matrices = buffer.add(inverse.flatten(1), "MAT4")
    joints = list(range(1, body.num_joints + 1))
    return {"joints": joints, "inverseBindMatrices": matrices, "skeleton": 1 + body.parents.index(-1)}


def _animation(body: Body, quats: Tensor, root: Tensor, metadata: dict[str, Any], buffer: _Buffer) -> dict[str, Any]:
    times = buffer.add(torch.arange(len(quats), dtype=torch.float64) / metadata["fps"], "SCALAR", bounds=True)
    tracks = [(1 + body.parents.index(-1), "translation", buffer.add(root, "VEC3"))]
    tracks += [(1 + joint, "rotation", buffer.add(quats[:, joint], "VEC4")) for joint in range(body.num_joints)]
    return {
        "name": metadata["text"] or "motion",
        "samplers": [{"input": times, "output": output, "interpolation": "LINEAR"} for _, _, output in tracks],
        "channels": [
            {"sampler": number, "target": {"node": node, "path": path}} for number, (node, path, _) in enumerate(tracks)
        ],
    }


def _write(path: str | os.PathLike[str], content: tuple[dict[str, Any], _Buffer]) -> None:
    """Writes header, JSON chunk and binary chunk; chunks are padded to multiples of four bytes."""
    document, buffer = content
    try:
        words = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"metadata cannot be written as JSON ({error}). Use plain numbers, strings and lists."
        ) from error
    words += b" " * (-len(words) % 4)
    length = 12 + 8 + len(words) + 8 + buffer.size
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(struct.pack("<4sII", _MAGIC, _VERSION, length))
        stream.write(struct.pack("<I4s", len(words), b"JSON") + words)
        stream.write(struct.pack("<I4s", buffer.size, b"BIN\0"))
        stream.writelines(buffer.parts)
