"""Animated characters as GLB (glTF 2.0, one binary file): mesh, skeleton, skin and one motion.

Everything is as in a `Body`: metres, y up, rest pose facing +z, left at +x, joint frames parallel to the world at rest.
The pelvis has a track of positions, every joint a track of rotations, one key per frame, linear between frames.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

import roma
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.body_model import Body, load_body
from hmr4d.body.inverse_kinematics import clip_rest_joints, solve_pose
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.export.motion_npz import checked_fps, checked_joints3d
from hmr4d.utils.files import atomic_path

_MAGIC, _VERSION = b"glTF", 2
_FLOAT, _UINT8, _UINT16, _UINT32 = 5126, 5121, 5123, 5125  # component types of the format
_COMPONENTS = {"<f4": _FLOAT, "|u1": _UINT8, "<u2": _UINT16, "<u4": _UINT32}
_VERTICES, _INDICES = 34962, 34963  # what a part of the buffer is for
_SKIN_COLOUR = (0.62, 0.66, 0.72, 1.0)  # linear light; a matt grey


def save_glb(
    path: str | os.PathLike[str],
    joints3d: NDArray[Any] | Tensor,
    *,
    fps: float,
    skeleton: Skeleton = SMPL22,
    text: str = "",
    metadata: Mapping[str, Any] | None = None,
    body: Body | None = None,
    bone_names: Mapping[str, str] | None = None,
) -> None:
    """Writes a motion on a body whose bones are those of the motion, see `save_posed_glb`.

    Args:
        path: file to write.
        joints3d: (L, 22, 3) metres, world, y up.
        fps: frames per second.
        skeleton: joint meaning; SMPL22.
        text: what the motion shows.
        metadata: JSON object kept in the file, for instance seed, model and licence.
        body: anyone's; its bones are stretched to fit. None: the free light body.
        bone_names: other names for joints, by their name in `body`.

    Raises:
        ValueError: a motion that is not finite, has no frame, another skeleton or bones without length; metadata that
            JSON cannot hold.
    """
    if skeleton != SMPL22:
        raise ValueError(f"skeleton '{skeleton.name}' cannot move a body; give the joints of '{SMPL22.name}'.")
    joints = torch.from_numpy(checked_joints3d(joints3d, skeleton))
    body = load_body() if body is None else body
    rest = clip_rest_joints(joints, body.rest_joints[list(body.smpl22)])
    pose = solve_pose(joints, rest)
    save_posed_glb(
        path, body.with_rest_joints(rest), body.from_smpl22(pose.rotations), joints[:, 0], fps=fps, text=text,
        metadata=metadata, bone_names=bone_names,
    )  # fmt: skip


def save_posed_glb(
    path: str | os.PathLike[str],
    body: Body,
    rotations: Tensor,
    root: Tensor,
    *,
    fps: float,
    text: str = "",
    metadata: Mapping[str, Any] | None = None,
    bone_names: Mapping[str, str] | None = None,
) -> None:
    """Writes a moving body atomically.

    Plain skinning is all the format has: what a body's pose blend shapes add (SMPL family) is not in the file.

    Args:
        path: file to write.
        body: mesh and skeleton.
        rotations: (L, J, 3, 3) of each joint in the frame of its parent; the root's in the world.
        root: (L, 3) metres, place of the root joint.
        fps: frames per second.
        text: what the motion shows; also the name of the animation.
        metadata: JSON object kept in the file.
        bone_names: other names for joints, by their name in `body`.

    Raises:
        ValueError: shapes that do not fit the body, no frame, or metadata that JSON cannot hold.
    """
    num_frames, fps = len(rotations), checked_fps(fps)
    if rotations.shape != (num_frames, body.num_joints, 3, 3) or root.shape != (num_frames, 3) or not num_frames:
        raise ValueError(
            f"rotations has shape {tuple(rotations.shape)} and root {tuple(root.shape)}; body '{body.name}' needs "
            f"(L, {body.num_joints}, 3, 3) and (L, 3) with at least one frame."
        )
    about = {
        "generator": "hmr4d", "text": text, "fps": fps, "frames": num_frames, "units": "metres",
        "axes": "right-handed, y up, rest pose facing +z, left side at +x", "skeleton": SMPL22.name, "body": body.name,
        "body_licence": body.licence, "metadata": dict(metadata or {}),
    }  # fmt: skip
    names = [(bone_names or {}).get(name, name) for name in body.joint_names]
    buffer = _Buffer()
    quats = continuous_quat_xyzw(rotations)
    document = {
        "asset": {"version": "2.0", "generator": "hmr4d", "extras": about},
        "scene": 0,
        "scenes": [{"nodes": [0, body.num_joints + 1]}],
        "nodes": _nodes(body, names, quats[0], root[0], about),
        "meshes": [_mesh(body, buffer)],
        "materials": [_material(body.name)],
        "skins": [_skin(body, buffer)],
        "animations": [_animation(body, quats, root, fps, text, buffer)],
    }
    _write(path, document, buffer)


def continuous_quat_xyzw(rotations: Tensor) -> Tensor:
    """Unit quaternions (L, J, 4), x y z w, of matrices (L, J, 3, 3), with signs such that blending takes the short way.

    The first frame has w >= 0, every other frame the sign that is nearer to the frame before it.
    """
    quats = roma.rotmat_to_unitquat(rotations)
    flips = torch.where((quats[1:] * quats[:-1]).sum(-1) < 0, -1.0, 1.0)
    first = torch.where(quats[:1, :, 3] < 0, -1.0, 1.0)
    return quats * torch.cat([first, flips]).cumprod(0).to(quats)[..., None]


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals: faces around a vertex count by their area; up where there is no face."""
    a, b, c = vertices[faces].unbind(1)
    normals = torch.zeros_like(vertices)
    normals.index_add_(0, faces.flatten(), torch.linalg.cross(b - a, c - a).repeat_interleave(3, 0))
    length = normals.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, normals / length, torch.tensor([0.0, 1.0, 0.0]).to(vertices))


# ----------------------------------------------------------------------------------------------------------------------


class _Buffer:
    """Arrays of a file one after the other, and their descriptions."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.size = 0

    def add(
        self, values: Tensor, kind: str, dtype: str = "<f4", *, target: int | None = None, bounds: bool = False
    ) -> int:
        """Number of the accessor of values (N,) for SCALAR or (N, C)."""
        array = values.detach().cpu().numpy().astype(dtype)
        content = array.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.size, "byteLength": len(content)}
        accessor: dict[str, Any] = {
            "bufferView": len(self.views), "componentType": _COMPONENTS[dtype], "count": len(array), "type": kind,
        }  # fmt: skip
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
    """The figure, its joints (node = joint + 1) in the pose of the first frame, and the mesh."""
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
    surface = {"baseColorFactor": list(_SKIN_COLOUR), "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"name": name, "pbrMetallicRoughness": surface}


def _skin(body: Body, buffer: _Buffer) -> dict[str, Any]:
    """Joints and their inverse bind matrices, column by column: a joint's frame at rest is the world's, moved to it."""
    inverse = torch.eye(4).repeat(body.num_joints, 1, 1)
    inverse[:, 3, :3] = -body.rest_joints
    matrices = buffer.add(inverse.flatten(1), "MAT4")
    joints = list(range(1, body.num_joints + 1))
    return {"joints": joints, "inverseBindMatrices": matrices, "skeleton": 1 + body.parents.index(-1)}


def _animation(body: Body, quats: Tensor, root: Tensor, fps: float, text: str, buffer: _Buffer) -> dict[str, Any]:
    times = buffer.add(torch.arange(len(quats), dtype=torch.float64) / fps, "SCALAR", bounds=True)
    tracks = [(1 + body.parents.index(-1), "translation", buffer.add(root, "VEC3"))]
    tracks += [(1 + joint, "rotation", buffer.add(quats[:, joint], "VEC4")) for joint in range(body.num_joints)]
    return {
        "name": text or "motion",
        "samplers": [{"input": times, "output": output, "interpolation": "LINEAR"} for _, _, output in tracks],
        "channels": [
            {"sampler": number, "target": {"node": node, "path": path}}
            for number, (node, path, _) in enumerate(tracks)
        ],
    }  # fmt: skip


def _write(path: str | os.PathLike[str], document: dict[str, Any], buffer: _Buffer) -> None:
    """Header, JSON chunk, binary chunk; chunks are filled up to four bytes."""
    document |= {"accessors": buffer.accessors, "bufferViews": buffer.views, "buffers": [{"byteLength": buffer.size}]}
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
