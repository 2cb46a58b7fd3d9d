"""The steps every BVH source shares: kinematics, unit, up axis, joint map, rate, bone lengths, floor."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hmr4d.body.retarget import retarget_bone_lengths, smpl_mean_bone_lengths
from hmr4d.body.stance import points_of_skeleton, share_of_backward_toes
from hmr4d.data.store_writer import StoreWriter
from hmr4d.motion.resampling import resample_positions
from hmr4d.motion_files.bvh import BvhClip, BvhError, read_bvh
from hmr4d.motion_files.joint_maps import JointMap, fitting_maps
from hmr4d.motion_files.source_frame import (
    UP_AXES,
    angle_doubt,
    import_doubts,
    offset_remark,
    source_fps,
    turned_y_up,
)
from hmr4d.utils.parallel import batches, default_jobs, ordered_map
from hmr4d.utils.remarks import Remark, tell_once

logger = logging.getLogger(__name__)

_BATCH_BYTES = 2 << 20  # file content sent to a worker at once

RETARGETS = ("none", "smpl_mean")
# Share of frames with toes behind ankles that is doubted. None of 908 pieces of CMU has a larger one than 0.45; with
# their sides exchanged 98 % have.
BACKWARD_SHARE = 0.7


@dataclass(frozen=True)
class Conversion:
    """Conversion of a BVH clip to joints of the store.

    Attributes:
        joint_map: places the target joints.
        meters_per_unit: scale of the file's positions.
        fps: target frames per second. up: axis that points up in the file, one of UP_AXES; it is rotated to y.
        skip_frames: frames dropped at the start, such as an added T-pose.
        retarget: "none", or "smpl_mean" for the mean SMPL bone lengths.
        add_offset_to_positions: add position channels to OFFSET instead of replacing it. source_fps: frames per second
            of the files, if their value is wrong. mend: corrects faults of a converter first, such as
            `cmu_files.restore_lost_bones`.
    """

    joint_map: JointMap
    meters_per_unit: float = 0.01
    fps: float = 20.0
    up: str = "y"
    skip_frames: int = 0
    retarget: str = "none"
    add_offset_to_positions: bool = False
    source_fps: float | None = None
    mend: Callable[[BvhClip], BvhClip] | None = None

    def __post_init__(self) -> None:
        if self.up not in UP_AXES:
            raise ValueError(f"Up axis '{self.up}' is not one of {UP_AXES}.")
        if self.retarget not in RETARGETS:
            raise ValueError(f"Retarget '{self.retarget}' is not one of {RETARGETS}.")
        if not (np.isfinite(self.meters_per_unit) and self.meters_per_unit > 0):
            raise ValueError(f"Meters per unit must be a positive number, got {self.meters_per_unit}.")
        for fps in (self.fps, self.source_fps):
            if fps is not None and not (np.isfinite(fps) and fps > 0):
                raise ValueError(f"Frames per second must be a positive number, got {fps}.")

    def __call__(self, clip: BvhClip) -> np.ndarray:
        """(M, J, 3) float32 meters, y up, lowest joint of the clip at y = 0; world heading and position are kept.

        Raises:
            BvhError: the clip has no frame left, lacks joints of the map, or has an impossible frame rate.
        """
        if clip.num_frames <= self.skip_frames:
            raise BvhError(f"{clip.name}: {clip.num_frames} frames, all skipped (skip_frames = {self.skip_frames}).")
        if self.mend is not None:
            clip = self.mend(clip)
        fps = source_fps(clip, self.source_fps)
        adds = self.add_offset_to_positions or clip.counts_from_offset
        positions = clip.forward_kinematics(add_offset_to_positions=adds, end_sites=True)
        try:
            joints = self.joint_map.apply(positions[self.skip_frames :], clip.point_names, clip.end_site_of)
        except ValueError as error:
            fitting = " or ".join(f"--map {name}" for name in fitting_maps(clip.joint_names))
            raise BvhError(f"{clip.name}: {error}.{f' Use {fitting}.' if fitting else ''}") from None
        joints *= self.meters_per_unit
        joints = resample_positions(turned_y_up(joints, self.up), fps, self.fps)
        joints = _lowest_at_zero(joints)
        if self.retarget == "smpl_mean":
            target = smpl_mean_bone_lengths(self.joint_map.skeleton)
            joints = _lowest_at_zero(retarget_bone_lengths(joints, target, skeleton=self.joint_map.skeleton))
        return joints.astype(np.float32)


def _lowest_at_zero(joints3d: np.ndarray) -> np.ndarray:
    """(L, J, 3) shifted in y by one constant so that the lowest joint over all frames is at y = 0."""
    return joints3d - joints3d[..., 1].min() * np.array([0, 1, 0], dtype=joints3d.dtype)


def facing_forward(joints3d: np.ndarray) -> np.ndarray:
    """(L, J, 3) turned to face +z in its first frame, with the first root above the origin."""
    import torch  # imported here, so that worker processes start without it

    from hmr4d.motion.canonical import face_first_frame

    return face_first_frame(torch.from_numpy(joints3d)).numpy()


class BvhSource(NamedTuple):
    """One file to convert.

    Attributes:
        name: clip name in the store.
        file_name: name of the file in messages. content: bytes of the file.
    """

    name: str
    file_name: str
    content: bytes


@dataclass(frozen=True)
class ClipMetadata:
    """Metadata of a clip from the importer.

    Attributes:
        split: train, val, test or "".
        labels: label kind -> label.
        skip_seconds: cut from the start.
    """

    split: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    skip_seconds: float = 0.0


class Converted(NamedTuple):
    """Result of one file.

    Attributes:
        name: clip name.
        joints: (M, J, 3) meters, or the error. remarks: warnings about the file.
    """

    name: str
    joints: np.ndarray | BvhError
    remarks: tuple[Remark, ...] = ()


def convert_batch(batch: list[BvhSource], conversion: Conversion) -> list[Converted]:
    """Joints of some files; a bad file, or one with an impossible body size, returns its error instead."""
    results: list[Converted] = []
    for source in batch:
        try:
            clip = read_bvh(source.content, name=source.file_name)
            joints = conversion(clip)
            doubts = _doubts(joints, conversion, clip.name)
            told = [*angle_doubt(clip), *([] if conversion.add_offset_to_positions else offset_remark(clip))]
            results.append(Converted(source.name, joints, (*clip.remarks, *told, *doubts)))
        except BvhError as error:
            results.append(Converted(source.name, error))
    return results


def _doubts(joints: np.ndarray, conversion: Conversion, name: str) -> list[Remark]:
    skeleton = conversion.joint_map.skeleton
    doubts, is_refused = import_doubts(
        joints, points_of_skeleton(skeleton), conversion.fps, scale=conversion.meters_per_unit, up=conversion.up
    )
    if is_refused:
        raise BvhError(f"{name}: {next(doubt.words for doubt in doubts if doubt.kind == 'size')}")
    is_upright = all(doubt.kind != "up" for doubt in doubts)
    if is_upright and share_of_backward_toes(joints, skeleton) > BACKWARD_SHARE:
        words = "the feet point backward in most frames; are left and right exchanged in the joint map?"
        doubts.append(Remark("sides", words))
    return doubts


def add_bvh_clips(
    writer: StoreWriter,
    sources: Iterable[BvhSource],
    describe: Callable[[str], ClipMetadata],
    conversion: Conversion,
    *,
    min_frames: int = 1,
    canonical: bool = False,
    skip_bad: bool = False,
    jobs: int | None = None,
) -> None:
    """Converts BVH files in worker processes and passes them to the writer in order.

    Args:
        writer: receives the clips, and the reasons of excluded ones. sources: the files, read as workers become free.
            describe: clip name -> its metadata. conversion: conversion of a file to joints. min_frames: shorter clips
            are excluded.
        canonical: turn every clip to face +z in its first frame, at the origin.
        skip_bad: skip such files, with a warning, instead of stopping.
        jobs: worker processes; one per core when None.

    Raises:
        BvhError: a file is unreadable, or its body size is impossible, and `skip_bad` is not set.
    """
    groups = batches(sources, lambda source: len(source.content), _BATCH_BYTES)
    convert = functools.partial(convert_batch, conversion=conversion)
    remarks: list[tuple[str, Remark]] = []
    total = 0
    try:
        for name, joints, found in itertools.chain.from_iterable(ordered_map(convert, groups, jobs or default_jobs())):
            total += 1
            if isinstance(joints, BvhError):
                if not skip_bad:
                    raise joints
                logger.warning("%s Skipped.", joints)
                writer.drop(name, "unreadable file")
                continue
            remarks += [(name, remark) for remark in found]
            description = describe(name)
            kept = joints[round(description.skip_seconds * conversion.fps) :]
            if len(kept) < max(min_frames, 1):
                writer.drop(name, f"shorter than {min_frames} frames")
                continue
            if description.skip_seconds:
                kept = _lowest_at_zero(kept)
            writer.add(
                name, facing_forward(kept) if canonical else kept, split=description.split, labels=description.labels
            )
    finally:
        writer.flush()  # an error or Ctrl-C loses no finished clip
        tell_once(logger, remarks, total)
