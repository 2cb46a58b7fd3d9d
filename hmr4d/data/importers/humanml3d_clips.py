"""Work on HumanML3D clips that runs in worker processes: sources to raw clips, raw clips to features."""

from __future__ import annotations

import functools
import io
import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smplh_joints import SmplhJoints, load_smplh_joints
from hmr4d.data.importers.amass import SourceProblem, amass_joints, read_amass
from hmr4d.data.importers.humanml3d_release import IndexRow, crop_clip, mirror_clip
from hmr4d.representation.hml263 import Hml263Codec
from hmr4d.utils.files import atomic_path


@dataclass(frozen=True)
class Outcome:
    """Result of one clip.

    Attributes:
        name: clip name.
        problem: short reason why there is no clip; empty: there is one.
        detail: more about the problem.
        remark: warning about an existing clip.
    """

    name: str
    problem: str = ""
    detail: str = ""
    remark: str = ""


@dataclass(frozen=True)
class SourceTask:
    """A motion file, or its content, and the requested clips.

    Attributes:
        models: body model file per gender.
        folder: output folder of the raw clips, as `<name>.npy` (L, 22, 3) float32, meters, y up.
    """

    content: Path | bytes
    rows: tuple[IndexRow, ...]
    models: Mapping[str, Path]
    folder: Path


@dataclass(frozen=True)
class FeatureTask:
    """Names of raw clips in a folder, and the output folder of new_joints/ and new_joint_vecs/."""

    names: tuple[str, ...]
    raw: Path
    out: Path


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a `.npy` that is whole or absent."""
    with atomic_path(path) as temporary:
        np.save(temporary, array)


def mirrored(name: str) -> str:
    """Name of the mirrored clip."""
    return f"M{name}"


def feature_files(out: Path, name: str) -> list[Path]:
    """The files that belong to the features of a clip and its mirrored twin."""
    return [out / folder / f"{n}.npy" for n in (name, mirrored(name)) for folder in ("new_joints", "new_joint_vecs")]


@functools.lru_cache(maxsize=4)
def _model(path: Path) -> SmplhJoints:
    return load_smplh_joints(path)


def _use_one_thread() -> None:
    """Runs in a worker process; other cores have their own workers."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)


def write_raw_clips(task: SourceTask) -> list[Outcome]:
    """Joints of a source, cut into its clips; a source without joints gives the same problem for each of its clips."""
    _use_one_thread()
    remark = ""
    try:
        if task.rows[0].is_humanact12:
            joints3d = _humanact12_joints(task.content)
        else:
            motion = read_amass(task.content)
            if motion.model_gender not in task.models:
                raise SourceProblem("no body model", motion.model_gender)
            joints3d = amass_joints(motion, _model(task.models[motion.model_gender]))
            if motion.is_gender_bytes and motion.gender == "male":
                remark = "male stored as bytes: female body, as published"
    except SourceProblem as problem:
        return [Outcome(row.name, problem.kind, f"{row.source}: {problem}") for row in task.rows]
    return [_write_raw_clip(task.folder, row, joints3d, remark) for row in task.rows]


def _write_raw_clip(folder: Path, row: IndexRow, joints3d: np.ndarray, remark: str) -> Outcome:
    clip = crop_clip(joints3d, row).astype(np.float32)
    if not len(clip):
        return Outcome(row.name, "no frames left", f"{row.source}: {len(joints3d)} frames, [{row.start}:{row.end}]")
    if not np.isfinite(clip).all():
        return Outcome(row.name, "not finite", row.source)
    save_array(folder / f"{row.name}.npy", clip)
    return Outcome(row.name, remark=remark)


def _humanact12_joints(content: Path | bytes) -> np.ndarray:
    """Body joints (T, 22, 3) of a HumanAct12 file, which are meters at 20 fps, y up, already."""
    try:
        joints3d = np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceProblem("unreadable", str(error)) from error
    is_motion = isinstance(joints3d, np.ndarray) and joints3d.ndim == 3 and joints3d.dtype.kind == "f"
    if not is_motion or joints3d.shape[1] < SMPL22.num_joints or joints3d.shape[2] != 3:
        raise SourceProblem("not a motion", f"{getattr(joints3d, 'shape', 'several arrays')}; expected (T, 24, 3)")
    return joints3d[:, : SMPL22.num_joints]


def write_features(task: FeatureTask) -> list[Outcome]:
    """Features of clips and their mirrored copies, and the joints that these features represent.

    The mirrored raw clip is encoded; features are not mirrored. Clips of one frame have no features.
    """
    _use_one_thread()
    clips = {name: np.load(task.raw / f"{name}.npy", allow_pickle=False) for name in task.names}
    outcomes = [Outcome(name, "one frame", "features need two") for name, clip in clips.items() if len(clip) < 2]
    both = {
        n: c
        for name, clip in clips.items()
        if len(clip) > 1
        for n, c in ((name, clip), (mirrored(name), mirror_clip(clip)))
    }
    if not both:
        return outcomes
    lengths = torch.tensor([len(clip) for clip in both.values()])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in both.values()], batch_first=True)
    codec = Hml263Codec("humanml3d")
    features = codec.encode(batch, lengths, degenerate="nan")
    joints3d = codec.decode(features)
    for index, (name, clip) in enumerate(both.items()):
        rows = features[index, : len(clip) - 1]
        save_array(task.out / "new_joints" / f"{name}.npy", joints3d[index, : len(clip) - 1].numpy())
        save_array(task.out / "new_joint_vecs" / f"{name}.npy", rows.numpy())
        outcomes.append(Outcome(name, remark="" if rows.isfinite().all() else "features contain NaN"))
    return outcomes
