"""Keypoint files of videos, whatever detector wrote them, as 2D motion with captions to train on."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.importers.caption_tables import CaptionTable
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.motion.resampling import resample_positions
from hmr4d.utils.files import atomic_path, write_json
from hmr4d.utils.progress import progress
from hmr4d.utils.tensors import interpolate_gaps

logger = logging.getLogger(__name__)

FPS = 30.0  # of what is written; `VideoMotion2D` expects it
SUFFIXES = (".json", ".npz", ".npy", ".csv", ".pkl")  # pickles are not read; each is left out with the reason
NO_CAPTION = "no caption"
MOTION_FILE, CAPTION_FILE = "motion2d.pth", "captions.json"


@dataclass(frozen=True)
class KeypointSummary:
    """What was imported.

    Attributes:
        path: folder of `motion2d.pth` and `captions.json`.
        num_clips, num_frames: at 30 fps.
        dropped: file -> reason.
    """

    path: Path
    num_clips: int
    num_frames: int
    dropped: dict[str, str]


def import_keypoints(
    root: str | Path,
    out: str | Path,
    captions: CaptionTable,
    *,
    fps: float | None = None,
    skeleton: str | None = None,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
) -> KeypointSummary:
    """Writes the person found in most frames of every keypoint file, as `hmr4d.data.video2d` reads them.

    Args:
        root: folder of keypoint files, one for each video, in any layout that `read_keypoints` knows.
        out: folder to write.
        captions: what a captions file says, by file name or relative path; the first one of a video is used.
        fps: frames per second of files that do not tell.
        skeleton: joint set, where neither the file nor the limbs tell it.
        size: (width, height) pixels; needed where coordinates are shares of the image.
        overwrite: replace what is in `out`.

    Raises:
        FileExistsError: `out` holds an import and `overwrite` is not set.
        FileNotFoundError: there is no keypoint file.
        ValueError: no file gives a clip, or captions name files that are not there.
    """
    root, out = Path(root), Path(out)
    if (out / MOTION_FILE).exists() and not overwrite:
        raise FileExistsError(f"{out} holds an import already. Pass --overwrite to replace it, or another --out.")
    files = _clip_names(root, _files(root))
    told = captions.of_clips({name: path.relative_to(root).as_posix() for name, path in files.items()})
    table: dict[str, dict[str, object]] = {}
    dropped: dict[str, str] = {}
    for name, path in progress(files.items(), "keypoints", total=len(files), unit="file"):
        if not told[name]:
            dropped[name] = NO_CAPTION
            continue
        try:
            track = read_keypoints(path, skeleton=skeleton, size=size)
            assert isinstance(track, KeypointTrack)
            joints2d, conf = _at_standard_rate(track, fps)
        except ValueError as error:
            dropped[name] = str(error)
            logger.warning("%s is left out: %s", path, error)
            continue
        table[name] = {"incam_joints": joints2d, "pred_scores": conf, "video_path": path.name}
    _tell_of_captions(told, table, dropped)
    if not table:
        raise ValueError(f"No keypoint file in {root} gives a clip: {json.dumps(dropped)[:300]}.")
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / MOTION_FILE) as partial:
        torch.save(table, partial)
    write_json(out / CAPTION_FILE, {name: told[name][0] for name in table})
    return KeypointSummary(out, len(table), sum(len(e["pred_scores"]) for e in table.values()), dropped)  # type: ignore[arg-type]


def _clip_names(root: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Clip name -> file: the relative path without its ending, or with it where several files differ in that alone."""
    plain = [path.relative_to(root).with_suffix("").as_posix() for path in files]
    counts = Counter(plain)
    return {
        name if counts[name] == 1 else path.relative_to(root).as_posix(): path
        for name, path in zip(plain, files, strict=True)
    }


def _tell_of_captions(told: Mapping[str, list[str]], table: Mapping[str, object], dropped: Mapping[str, str]) -> None:
    """Warns of files that have no caption, and of captions that are not used."""
    if missing := [name for name, reason in dropped.items() if reason == NO_CAPTION]:
        logger.warning("%d files have no caption and are left out, such as %s.", len(missing), missing[0])
    if several := [name for name in table if len(told[name]) > 1]:
        logger.warning(
            "%d files have several captions, such as %s; the first of each is used.", len(several), several[0]
        )


def _files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder. Give the folder of the keypoint files.")
    found = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
    found = [p for p in found if not p.name.startswith(".")]
    if not found:
        raise FileNotFoundError(f"No keypoint file below {root}: expected .json, .npz, .npy or .csv files.")
    return found


def _at_standard_rate(track: KeypointTrack, fps: float | None) -> tuple[Tensor, Tensor]:
    """SMPL-22 joints (L, 22, 2) pixels and confidences (L, 22) of a track at 30 fps; ValueError without a rate."""
    rate = track.fps or fps
    if rate is None:
        raise ValueError("the file does not tell its frames per second. Give them with --fps.")
    points, conf = observed_joints(
        torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), track.skeleton, SMPL22
    )
    seen = conf > 0
    lost = [SMPL22.joint_names[j] for j in range(SMPL22.num_joints) if not seen[:, j].any()]
    for joint in range(SMPL22.num_joints):  # a joint that no keypoint tells lies at its parent, with no confidence
        parent = SMPL22.parents[joint]
        points[:, joint] = (
            interpolate_gaps(points[:, joint], seen[:, joint]) if seen[:, joint].any() else points[:, parent]
        )
    if lost and lost[0] == SMPL22.joint_names[0]:
        raise ValueError("hips and shoulders are missing in every frame.")
    joints2d = resample_positions(points.numpy(), rate, FPS)
    confidence = resample_positions(conf.numpy()[..., None], rate, FPS)[..., 0].clip(0.0, 1.0)
    return torch.from_numpy(joints2d), torch.from_numpy(np.ascontiguousarray(confidence))
