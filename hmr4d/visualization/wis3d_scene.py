"""Folders of meshes for a Wis3D server: stick figures as tubes, one scene per frame, published names."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.joint_checks import check_finite
from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import invert_rigid, square_intrinsics
from hmr4d.motion.motion import Motion, check_joints_shape
from hmr4d.representation.views import PATCH, PerspectiveViews

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CYAN, MAGENTA = (0, 255, 255), (255, 0, 255)
CHAIN_COLORS = (RED, GREEN, BLUE, CYAN, MAGENTA)  # right leg, left leg, spine, right arm, left arm
TUBE_RADIUS = 0.02  # meters
TUBE_SIDES = 8
ORTHOGRAPHIC_DEPTH, PINHOLE_DEPTH = (
    0.25,
    0.5,
)  # distance of the image planes, relative to the distance from camera to root
DARKEST = 0.35  # brightness factor on the side away from the light; Wis3D shows vertex colors unlit
LIGHT = (0.4, 0.8, 0.45)
SEQUENCE_TEXT = 20  # characters of the text that a sequence name contains
MAX_NAME_BYTES = 120  # file names allow 255 bytes, but ".ply" and the encoded URL must fit, too

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Figure:
    """A moving stick figure of a scene.

    Attributes:
        name: name of its meshes.
        joints3d: (L, J, 3) meters, y up.
        colors: one color per chain of the skeleton.
    """

    name: str
    joints3d: NDArray[np.float32]
    colors: tuple[Color, ...]

    @classmethod
    def plain(cls, name: str, joints3d: Tensor, skeleton: Skeleton, color: Color) -> Figure:
        """A figure (L, J, 3) of one color. Raises ValueError if it is not finite or has other joints."""
        return cls._checked(name, joints3d, skeleton, (color,) * len(skeleton.chains))

    @classmethod
    def by_chain(cls, name: str, joints3d: Tensor, skeleton: Skeleton) -> Figure:
        """A figure (L, J, 3) in CHAIN_COLORS. Raises ValueError as `plain` does."""
        colors = tuple(CHAIN_COLORS[i % len(CHAIN_COLORS)] for i in range(len(skeleton.chains)))
        return cls._checked(name, joints3d, skeleton, colors)

    @classmethod
    def _checked(cls, name: str, joints3d: Tensor, skeleton: Skeleton, colors: tuple[Color, ...]) -> Figure:
        try:
            check_joints_shape(joints3d, skeleton)
            check_finite(joints3d, skeleton)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        return cls(name, joints3d.detach().to("cpu", torch.float32).numpy(), colors)


def safe_name(text: str) -> str:
    """Text as part of a file name that is valid on all systems and contains no wildcards for the server."""
    plain = re.sub(r"""[\x00-\x1f/\\*?"<>|\[\]]""", "_", text)
    return plain.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", errors="ignore").strip() or "_"


def sequence_name(number: int, text: str) -> str:
    """Name of the sequence of a motion: 007_a person walks forwa."""
    return f"{number:03d}_{safe_name(text[:SEQUENCE_TEXT])}"


def fill(joints3d: Tensor, num_frames: int) -> Tensor:
    """Joints (L, J, 3) cut to `num_frames`, or padded with the last frame."""
    index = torch.arange(num_frames, device=joints3d.device).clamp(max=len(joints3d) - 1)
    return joints3d[index]


def points_before_cameras(joints2d: Tensor, T_w2c: Tensor, *, is_perspective: bool) -> Tensor:
    """2D motion as flat figures in space, on an image plane in front of each camera.

    The distance of the image planes, relative to the distance from camera to root, is ORTHOGRAPHIC_DEPTH for
    orthographic views, where figures keep their size, and PINHOLE_DEPTH for pinhole views, where figures have half
    their size.

    Args:
        joints2d: (V, L, J, 2) box units, y down.
        T_w2c: (V, 4, 4).
        is_perspective: True for pinhole views.

    Returns:
        (V, L, J, 3) meters in the world of the cameras.
    """
    T_c2w = invert_rigid(T_w2c)
    share = PINHOLE_DEPTH if is_perspective else ORTHOGRAPHIC_DEPTH
    depth = share * T_c2w[:, :3, 3].norm(dim=-1)[:, None, None, None]  # (V, 1, 1, 1); the root is at the origin
    plane = joints2d
    if is_perspective:
        K, ones = square_intrinsics(PATCH, like=joints2d), joints2d.new_ones(1)
        views = PerspectiveViews(T_w2c[None], K.expand(1, len(T_w2c), 3, 3), ones, ones.long())
        plane = views.image_points(joints2d[None])[0] * depth
    points_c = torch.cat([plane, depth.expand_as(plane[..., :1])], -1)
    return points_c @ T_c2w[:, None, :3, :3].transpose(-1, -2) + T_c2w[:, None, None, :3, 3]


def tube_faces(num_bones: int) -> NDArray[np.int64]:
    """(F, 3) vertex indices of `tube_vertices`, counter-clockwise when seen from outside."""
    ring = np.arange(TUBE_SIDES)
    following = (ring + 1) % TUBE_SIDES
    start, end = 2 * TUBE_SIDES, 2 * TUBE_SIDES + 1  # tips of the caps
    faces = np.concatenate(
        [
            np.stack([ring, following, ring + TUBE_SIDES], -1),
            np.stack([following, following + TUBE_SIDES, ring + TUBE_SIDES], -1),
            np.stack([following, ring, np.full_like(ring, start)], -1),
            np.stack([ring + TUBE_SIDES, following + TUBE_SIDES, np.full_like(ring, end)], -1),
        ]
    )
    return (faces[None] + (2 * TUBE_SIDES + 2) * np.arange(num_bones)[:, None, None]).reshape(-1, 3)


def tube_vertices(
    joints3d: NDArray[np.floating], bones: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tubes of TUBE_RADIUS along bones with pointed ends; a bone of zero length becomes a small bead.

    Args:
        joints3d: (L, J, 3) meters.
        bones: N pairs of joints.

    Returns:
        (L, N * (2 * TUBE_SIDES + 2), 3) vertices and their outward unit normals.
    """
    a, b = (joints3d[:, [bone[end] for bone in bones]].astype(np.float64) for end in (0, 1))  # (L, N, 3)
    along = b - a
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    along = np.where(length > 1e-9, along / np.maximum(length, 1e-9), (0.0, 1.0, 0.0))
    helper = np.eye(3)[np.abs(along).argmin(axis=-1)]  # the axis with the smallest component along the bone
    u = np.cross(along, helper)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    v = np.cross(along, u)
    angle = 2 * np.pi * np.arange(TUBE_SIDES)[:, None] / TUBE_SIDES
    out = np.cos(angle) * u[:, :, None] + np.sin(angle) * v[:, :, None]  # (L, N, sides, 3)
    rings = [point[:, :, None] + TUBE_RADIUS * out for point in (a, b)]
    tips = [(point + sign * TUBE_RADIUS * along)[:, :, None] for point, sign in ((a, -1.0), (b, 1.0))]
    vertices = np.concatenate([*rings, *tips], axis=2)
    normals = np.concatenate([out, out, -along[:, :, None], along[:, :, None]], axis=2)
    return vertices.reshape(len(a), -1, 3), normals.reshape(len(a), -1, 3)


def shaded(normals: NDArray[np.float64], colors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Shaded colors (..., 3) from 0 to 255 under LIGHT."""
    light = np.asarray(LIGHT) / np.linalg.norm(LIGHT)
    strength = DARKEST + (1.0 - DARKEST) * (0.5 + 0.5 * (normals @ light))
    return np.round(colors * strength[..., None]).astype(np.uint8)


def import_wis3d() -> Any:
    """The package wis3d. Raises ImportError with install instructions if it is missing."""
    try:
        import wis3d  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"The Wis3D viewer needs the package wis3d ({error}): pip install -r requirements_render.txt."
        ) from error
    return wis3d


def write_sequence(folder: str | os.PathLike[str], name: str, figures: Sequence[Figure], skeleton: Skeleton) -> Path:
    """Writes the scenes of a sequence, one per frame. A sequence of the same name is replaced.

    The write is atomic: the sequence gets its name after all files are complete.

    Args:
        folder: folder that the server gets as `--vis_dir`.
        name: name of the sequence, see `sequence_name`.
        figures: figures; frame i of each belongs to scene i.
        skeleton: skeleton of all figures.

    Returns:
        The folder of the sequence.

    Raises:
        ImportError: wis3d is not installed.
    """
    writer_of = import_wis3d().Wis3D
    import trimesh  # pyright: ignore[reportMissingImports]  # a dependency of wis3d

    final, partial = Path(folder) / name, Path(folder) / f".{name}.partial"  # the server ignores hidden folders
    shutil.rmtree(partial, ignore_errors=True)
    writer = writer_of(str(folder), partial.name)
    bones = [pair for _, chain in skeleton.chains for pair in zip(chain[:-1], chain[1:], strict=True)]
    faces = tube_faces(len(bones))
    try:
        for figure in figures:
            for frame, (vertices, colors) in enumerate(_meshes(figure, skeleton, bones)):
                writer.set_scene_id(frame)
                # Built here, because Wis3D would merge coincident vertices and thereby the colors of different chains.
                mesh = trimesh.Trimesh(vertices, faces, vertex_colors=colors, process=False)
                writer.add_mesh(mesh, name=figure.name)
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def _meshes(figure: Figure, skeleton: Skeleton, bones: Sequence[tuple[int, int]]) -> Iterator[Any]:
    """Yields (vertices, colors) of each frame."""
    per_bone = [c for c, (_, chain) in zip(figure.colors, skeleton.chains, strict=True) for _ in chain[1:]]
    per_vertex = np.repeat(np.asarray(per_bone, np.float64), 2 * TUBE_SIDES + 2, axis=0)
    vertices, normals = tube_vertices(figure.joints3d, bones)
    for frame in range(len(vertices)):
        yield vertices[frame], shaded(normals[frame], per_vertex)


def motion_figures(
    motion: Motion, *, name: str, num_frames: int, real: Tensor | None = None, views: Mapping[str, Any] | None = None
) -> list[Figure]:
    """Figures of a motion with the published names.

    `01ours_pred ::: <text>` is blue (magenta for a `name` other than ours),
    `00gt ::: <text>` green, `02pred` in CHAIN_COLORS and `03view-<i>` red.

    Args:
        motion: motion in its display position.
        name: name of the source of the motion.
        num_frames: length of the figures; motions are cut or padded with the last frame.
        real: (L', J, 3) meters, recorded motion.
        views: `camera_joints3d` (L, J, 3), `joints2d` (V, L, J, 2), `T_w2c` (V, 4, 4) and `is_perspective`, to show the
            lifted 2D motion.

    Raises:
        ValueError: a motion is not finite.
    """
    color, text, skeleton = BLUE if name == "ours" else MAGENTA, motion.text, motion.skeleton
    figures = [Figure.plain(safe_name(f"01{name}_pred ::: {text}"), fill(motion.joints3d, num_frames), skeleton, color)]
    if real is not None:
        figures.append(Figure.plain(safe_name(f"00gt ::: {text}"), fill(real, num_frames), skeleton, GREEN))
    if views is not None:
        figures.append(Figure.by_chain("02pred", fill(views["camera_joints3d"], num_frames), skeleton))
        planes = points_before_cameras(views["joints2d"], views["T_w2c"], is_perspective=views["is_perspective"])
        figures += [
            Figure.plain(f"03view-{i}", fill(plane, num_frames), skeleton, RED) for i, plane in enumerate(planes)
        ]
    return figures
