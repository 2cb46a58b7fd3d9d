"""Reads motions for display: motion files, BVH, published `.pth` files and folders of runs."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.body.stance import body_height, points_by_name
from hmr4d.export.bvh import UNITS
from hmr4d.export.motion_npz import is_motion_file, load_motion_npz
from hmr4d.export.saved_motions import SavedMotions
from hmr4d.motion.motion import Motion, joints_tensor
from hmr4d.motion_files.bvh import read_bvh
from hmr4d.motion_files.side_files import read_side_file
from hmr4d.motion_files.source_frame import (
    METERS_PER_UNIT,
    angle_doubt,
    import_doubts,
    likely_unit,
    offset_remark,
    source_fps,
    turned_y_up,
)
from hmr4d.utils.files import is_shown
from hmr4d.utils.remarks import tell_once
from hmr4d.visualization.figure_style import figure_style

logger = logging.getLogger(__name__)

KINDS = (".npz", ".bvh", ".pth")
PUBLISHED_FPS = 30.0
_UNIT_OF = {name: unit for unit, (name, _, _) in UNITS.items()}  # unit names in the metadata files of BVH files


@dataclass(frozen=True)
class ShownMotion:
    """A motion and its display settings.

    Attributes:
        name: name of the file.
        motion: motion to draw, finite.
        bones: pairs of joints.
        sides: "left", "right" or "center" for each bone.
    """

    name: str
    motion: Motion
    bones: tuple[tuple[int, int], ...]
    sides: tuple[str, ...]

    @cached_property
    def joints3d(self) -> NDArray[np.float32]:
        """(L, J, 3) meters, y up."""
        return self.motion.array()

    @property
    def text(self) -> str:
        """Description of the motion; empty if unknown."""
        return self.motion.text

    @property
    def fps(self) -> float:
        return self.motion.fps

    @property
    def is_smpl22(self) -> bool:
        """Whether the joints are those of SMPL-22, which a body can follow."""
        return self.motion.skeleton.name == SMPL22.name

    @property
    def num_frames(self) -> int:
        return self.motion.num_frames

    @property
    def seconds(self) -> float:
        """Duration from the first to the last frame, seconds."""
        return (self.num_frames - 1) / self.fps

    def frame_at(self, seconds: float) -> int:
        """Index of the frame at a time; the last one after the end of the motion."""
        return min(max(math.floor(seconds * self.fps + 1e-6), 0), self.num_frames - 1)


def find_motions(places: Sequence[Path]) -> list[Path]:
    """Motion files among files and folders, sorted by name within a folder.

    A folder contributes its own files or, if it has none, those of `repeat_*` and `generations` below it, where a test
    saves its motions. A BVH file next to a motion file of the same name contains the same motion and is skipped.

    Raises:
        FileNotFoundError: paths do not exist (the message names all), or a folder has no motion.
        ValueError: a file has another format.
    """
    if missing := [str(place) for place in places if not place.exists()]:
        raise FileNotFoundError(f"No such file or folder: {', '.join(missing)}. Check the path.")
    paths: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = next((files for files in map(_motions_in, _layers(place)) if files), None)
            if inside is None:
                raise FileNotFoundError(f"No motion in {place}: expected {', '.join(KINDS)} files. Check the path.")
            paths += inside
        elif place.suffix.lower() not in KINDS:
            raise ValueError(
                f"{place} is not a motion file: expected {', '.join(KINDS)}. The other export formats cannot be read."
            )
        else:
            paths.append(place)
    return list(dict.fromkeys(paths))


def _layers(folder: Path) -> list[list[Path]]:
    """Candidate folders of motions in order: the folder itself, then the repeats of a test."""
    tests = [folder, folder / "generations"]
    return [[folder], *(sorted(p for p in test.glob("repeat_*") if p.is_dir()) for test in tests)]


def _motions_in(folders: Sequence[Path]) -> list[Path]:
    files = [
        p
        for folder in folders
        for p in sorted(folder.iterdir())
        if p.suffix.lower() in KINDS and is_shown(p, folder) and p.is_file()
    ]
    motions = [p for p in files if p.suffix.lower() != ".npz" or is_motion_file(p)]
    if others := [p.name for p in files if p not in motions]:
        logger.info("Skipped, no motions: %s.", ", ".join(others))
    originals = {p.with_suffix("") for p in motions if p.suffix.lower() == ".npz"}
    return [p for p in motions if p.suffix.lower() == ".npz" or p.with_suffix("") not in originals]


def read_motion(
    path: Path, *, fps: float = PUBLISHED_FPS, unit: str | None = None, up: str = "y", bvh_fps: float | None = None
) -> ShownMotion:
    """Reads a motion file, a BVH file, or a published `.pth` file.

    Args:
        path: the file.
        fps: frame rate of a `.pth` file, which contains none.
        unit: length unit of a BVH file, a key of METERS_PER_UNIT; None: from the metadata file or, without one, from
            the size of the body.
        up: up axis of a BVH file, one of UP_AXES.
        bvh_fps: frame rate of a BVH file; None: the rate in the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, has another format or is not finite.
    """
    kind = path.suffix.lower()
    if kind == ".bvh":
        return _read_bvh(path, unit, up, bvh_fps)
    if kind == ".pth":
        motions = _published(path.parent, fps)
        motion = motions.load(motions.files.index(path))
    else:
        motion = load_motion_npz(path)
    return of_motion(f"{path.parent.name}/{path.stem}" if path.parent.name.startswith("repeat_") else path.stem, motion)


def of_motion(name: str, motion: Motion) -> ShownMotion:
    """Display settings of a motion with a known skeleton."""
    style = figure_style(motion.skeleton)
    return ShownMotion(name, motion, style.bones, style.bone_sides)


@lru_cache(maxsize=4)
def _published(folder: Path, fps: float) -> SavedMotions:
    return SavedMotions(folder, fps=fps, skeleton=SMPL22)


def _read_bvh(path: Path, unit: str | None, up: str, asked_fps: float | None) -> ShownMotion:
    clip = read_bvh(path)
    fps = source_fps(clip, asked_fps)
    positions = clip.forward_kinematics(add_offset_to_positions=clip.counts_from_offset)
    metadata = read_side_file(path)
    unit = unit or _UNIT_OF.get(str(metadata.get("units")))
    points = points_by_name(clip.joint_names, clip.parents)
    if unit is None:
        unit = likely_unit(body_height(positions, points))
        logger.info(
            "%s: lengths are assumed to be in %s, from the size of the body. Change this with --unit.", path, unit
        )
    joints3d = turned_y_up(positions * METERS_PER_UNIT[unit], up)
    doubts, _ = import_doubts(joints3d, points, fps, scale=METERS_PER_UNIT[unit], up=up)
    remarks = (*clip.remarks, *angle_doubt(clip), *offset_remark(clip), *doubts)
    tell_once(logger, [(str(path), remark) for remark in remarks], 1)
    text = str(metadata.get("text", ""))
    if set(SMPL22.joint_names) == set(clip.joint_names):
        order = [clip.joint_names.index(name) for name in SMPL22.joint_names]
        style = figure_style(SMPL22)
        return ShownMotion(
            path.stem, Motion(joints_tensor(joints3d[:, order]), fps, SMPL22, text), style.bones, style.bone_sides
        )
    skeleton = Skeleton(path.name, tuple(clip.joint_names), tuple(clip.parents), ())
    sides = tuple(side_of(clip.joint_names[joint]) for _, joint in skeleton.bones)
    return ShownMotion(path.stem, Motion(joints_tensor(joints3d), fps, skeleton, text), skeleton.bones, sides)


def side_of(joint_name: str) -> str:
    """ "left", "right" or "center" from a joint name: LeftArm, arm_L, lShin, mixamorig:RightFoot, clavicle_r."""
    name = joint_name.rpartition(":")[2]
    for side in ("left", "right"):
        letter = side[0]
        if side in name.lower() or re.match(rf"{letter}[A-Z_]", name) or re.match(rf"{letter.upper()}_", name):
            return side
        if re.search(rf"[_.-]{letter}$", name, re.IGNORECASE):
            return side
    return "center"
