"""A small reader of skinned, animated GLB, after the glTF 2.0 specification alone."""

from __future__ import annotations

import json
import struct
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

_DTYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """One file; `pose(seconds)` plays it.

    Attributes:
        json: the JSON chunk.
        binary: the binary chunk.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", content)
        assert (magic, version, length) == (b"glTF", 2, len(content))
        json_length, kind = struct.unpack_from("<I4s", content, 12)
        assert kind == b"JSON" and json_length % 4 == 0
        self.json: dict[str, Any] = json.loads(content[20 : 20 + json_length])
        binary_length, kind = struct.unpack_from("<I4s", content, 20 + json_length)
        self.binary = content[28 + json_length :]
        assert kind == b"BIN\0" and binary_length == len(self.binary) == self.json["buffers"][0]["byteLength"]

    def array(self, accessor: int) -> np.ndarray:
        """(N,) or (N, C) numbers of an accessor."""
        about = self.json["accessors"][accessor]
        view = self.json["bufferViews"][about["bufferView"]]
        dtype, width = np.dtype(_DTYPES[about["componentType"]]), _WIDTHS[about["type"]]
        assert view["byteOffset"] % dtype.itemsize == 0
        assert view["byteLength"] == about["count"] * width * dtype.itemsize
        array = np.frombuffer(self.binary, dtype, about["count"] * width, view["byteOffset"])
        array = array if width == 1 else array.reshape(-1, width)
        if "min" in about:
            rows = array.reshape(len(array), -1)
            assert (about["min"], about["max"]) == (rows.min(0).tolist(), rows.max(0).tolist())
        return array

    @cached_property
    def primitive(self) -> dict[str, np.ndarray]:
        """Attributes of the mesh, and its faces (F, 3)."""
        (part,) = self.json["meshes"][0]["primitives"]
        assert part.get("mode", 4) == 4
        arrays = {name: self.array(number) for name, number in part["attributes"].items()}
        return arrays | {"faces": self.array(part["indices"]).reshape(-1, 3)}

    @cached_property
    def tracks(self) -> dict[tuple[int, str], tuple[np.ndarray, np.ndarray]]:
        """(node, property) -> key times (L,) and values."""
        (animation,) = self.json["animations"]
        found = {}
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            assert sampler["interpolation"] == "LINEAR"
            place = channel["target"]["node"], channel["target"]["path"]
            found[place] = self.array(sampler["input"]), self.array(sampler["output"])
        return found

    @property
    def joint_names(self) -> list[str]:
        return [self.json["nodes"][node]["name"] for node in self.json["skins"][0]["joints"]]

    def joint_transforms(self, seconds: float) -> np.ndarray:
        """(J, 4, 4) world transforms of the joints of the skin, by the rules for nodes and animations."""
        nodes = self.json["nodes"]
        world: dict[int, np.ndarray] = {}
        pending = [(node, np.eye(4)) for node in self.json["scenes"][self.json["scene"]]["nodes"]]
        while pending:
            node, above = pending.pop()
            local = np.eye(4)
            quat = self._value(node, "rotation", seconds, nodes[node].get("rotation", [0, 0, 0, 1]))
            local[:3, :3] = Rotation.from_quat(quat).as_matrix()  # SciPy, like glTF, has x y z w
            local[:3, 3] = self._value(node, "translation", seconds, nodes[node].get("translation", [0, 0, 0]))
            world[node] = above @ local
            pending += [(child, world[node]) for child in nodes[node].get("children", [])]
        return np.stack([world[node] for node in self.json["skins"][0]["joints"]])

    def joints(self, seconds: float) -> np.ndarray:
        """(J, 3) places of the joints."""
        return self.joint_transforms(seconds)[:, :3, 3]

    def vertices(self, seconds: float) -> np.ndarray:
        """(V, 3): sum over joints of weight times joint transform times inverse bind matrix times vertex."""
        inverse = self.array(self.json["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = self.joint_transforms(seconds) @ inverse
        mesh = self.primitive
        points = np.concatenate([mesh["POSITION"], np.ones((len(mesh["POSITION"]), 1))], 1)
        blended = np.einsum("vk,vkab->vab", mesh["WEIGHTS_0"].astype(np.float64), matrices[mesh["JOINTS_0"]])
        return (blended @ points[..., None])[:, :3, 0]

    def _value(self, node: int, name: str, seconds: float, fixed: list[float]) -> np.ndarray:
        if (node, name) not in self.tracks:
            return np.array(fixed)
        times, values = self.tracks[node, name]
        after = int(np.clip(np.searchsorted(times, seconds), 1, len(times) - 1)) if len(times) > 1 else 0
        if len(times) == 1 or not times[0] <= seconds <= times[-1]:
            return values[0 if seconds <= times[0] else -1]
        share = (seconds - times[after - 1]) / (times[after] - times[after - 1])
        if name == "rotation" and abs(share - round(share)) > 1e-6:
            return Slerp([0, 1], Rotation.from_quat(values[after - 1 : after + 1]))(share).as_quat()
        return (1 - share) * values[after - 1] + share * values[after]
