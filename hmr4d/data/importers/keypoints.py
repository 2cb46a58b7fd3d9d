"""Importer of keypoint files of videos, from any detector, as captioned 2D training motion."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.skeleton import COCO17, SMPL22, Skeleton, get_skeleton
from hmr4d.data.importers.caption_tables import CaptionTable
from hmr4d.data.importers.splits import split_by_names
from hmr4d.data.keypoint_clips import with_image_size
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.data.store import KEYPOINTS
from hmr4d.data.store_writer import Caption, ClipRecord, StoreSummary, StoreWriter
from hmr4d.keypoint_files.detections import FASTEST_RATE, SLOWEST_RATE
from hmr4d.keypoint_files.image_sizes import size_doubt
from hmr4d.keypoint_files.rates import even_times, resample_keypoints
from hmr4d.keypoint_files.reading import KeypointTrack, read_keypoints
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.utils.files import check_names
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

FPS = 30.0  # frame rate of the store
JOINT_SETS = (COCO17.name, SMPL22.name)
SUFFIXES = (".json", ".npz", ".npy", ".csv", ".pkl")  # pickles are not read; each is skipped with the reason
NO_CAPTION = "no caption"


def import_keypoints(
    root: str | Path, out: str | Path, captions: CaptionTable, *, fps: float | None = None,
    skeleton: str | None = None, size: tuple[int, int] | None = None, joints: str = COCO17.name,
    licence: str = "unknown", split: str | None = None, overwrite: bool = False,
) -> StoreSummary:  # fmt: skip
    """Writes the person with the most frames of every keypoint file as a clip of a 2D store, at 30 fps.

    Files without a caption, and unusable ones, are skipped; `dropped` of the store names them.

    Args:
        root: folder of keypoint files, one for each video, in any layout of `read_keypoints`.
        out: folder to write.
        captions: content of a captions file, by file name or relative path. fps: frames per second of files without a
            rate. skeleton: joint set, if it cannot be detected from the file or the limbs. size: (width, height) pixels
            of the images of files without a size; needed for fractions of the image.
        joints: joint set of the store, one of JOINT_SETS.
        licence: license of the videos. split: split of all clips; None: by the names of the files. overwrite: replace
            the content of `out`.

    Raises:
        FileExistsError: `out` contains a store and `overwrite` is not set. FileNotFoundError: there is no keypoint
            file. ValueError: no file gives a clip, or captions name unknown files.
    """
    root, target = Path(root), get_skeleton(joints)
    files = _clip_names(root, _files(root))
    clip_captions = captions.of_clips({name: path.relative_to(root).as_posix() for name, path in files.items()})
    writer = StoreWriter(
        Path(out), name="keypoints2d", source="keypoint files of videos", licence=licence,
        notice=f"# Keypoints of videos\n\nLicence: {licence}.", fps=FPS, skeleton=target, kind=KEYPOINTS,
        settings={"fps": fps, "skeleton": skeleton, "size": size, "joints": joints, "split": split},
        overwrite=overwrite, origin=[root],
    )  # fmt: skip
    splits = dict.fromkeys(files, split) if split else split_by_names(list(files))
    sizeless: list[str] = []
    for name, path in progress(files.items(), "keypoints", total=len(files), unit="file"):
        if writer.is_done(name):
            continue
        if not clip_captions[name]:
            writer.drop(name, NO_CAPTION)
            continue
        try:
            track = read_keypoints(path, skeleton=skeleton, size=size)
            assert isinstance(track, KeypointTrack)
            keypoints = store_frames(track, target, fps=fps, size=size, name=str(path))
        except ValueError as error:
            writer.drop(name, str(error))
            logger.warning("%s is skipped: %s", path, error)
            continue
        if not keypoints[0, -1, 0]:
            sizeless.append(name)
        writer.add(name, keypoints, split=splits[name] or "")
    if missing := [name for name in files if not clip_captions[name]]:
        logger.warning("%d files have no caption and are skipped, such as %s.", len(missing), missing[0])
    if sizeless:
        logger.warning(
            "%d files do not contain the size of their images, such as %s. Methods that need it refuse the store; "
            "pass it with --size WIDTH HEIGHT.",
            len(sizeless),
            sizeless[0],
        )

    def annotate(clip: ClipRecord) -> list[Caption]:
        return [Caption(text, tuple(pos_tokens(text))) for text in clip_captions[clip.name]]

    return writer.finish(annotate=annotate, mirror_text=mirror_text, tokenize=pos_tokens)


def store_frames(
    track: KeypointTrack,
    target: Skeleton,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    name: str = "The track",
) -> NDArray[np.float32]:
    """(L, J + 1, 3) frames of a 2D store, at 30 fps, of a track.

    Args:
        track: track as read. target: skeleton of the J keypoints. fps: rate of a track without one. size: image size of
            a track without one. name: how warnings call the track.

    Raises:
        ValueError: the rate is unknown or none of a camera, the image size changes or does not fit the keypoints, or
            joints of the target cannot be derived.
    """
    rate = track.fps or fps
    if rate is None:
        raise ValueError("the file does not contain its frames per second. Pass them with --fps.")
    if not SLOWEST_RATE <= rate <= FASTEST_RATE:
        raise ValueError(f"the rate is {rate:g}; expected {SLOWEST_RATE:g} to {FASTEST_RATE:g} frames per second.")
    if len(track.image_sizes) > 1:
        sizes = ", ".join(f"{w} x {h}" for w, h in track.image_sizes[:4])
        raise ValueError(f"its image size changes ({sizes}). Cut the video there, or scale its frames to one size.")
    image, found = next(iter(track.image_sizes), size), track.kp2d_conf > 0
    doubt = None if image is None or not found.any() else size_doubt(track.kp2d[found], image, "the image")
    if doubt:
        logger.warning("%s: %s Check the size %s.", name, doubt, "in the file" if track.image_sizes else "of --size")
    points, conf = observed_joints(
        torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), track.skeleton, target
    )
    if not (conf > 0).any():
        raise ValueError(f"none of the joints of '{target.name}' is detected in any frame.")
    tracks = torch.cat([points, conf[..., None]], -1).numpy()
    times = np.arange(len(tracks)) / rate
    tracks = resample_keypoints(tracks, times, even_times(times, FPS))
    return with_image_size(tracks[..., :2], tracks[..., 2], image)


def _clip_names(root: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Clip name -> file: the relative path without suffix, or with it if several files differ only in it."""
    plain = [path.relative_to(root).with_suffix("").as_posix() for path in files]
    counts = Counter(plain)
    return {
        name if counts[name] == 1 else path.relative_to(root).as_posix(): path
        for name, path in zip(plain, files, strict=True)
    }


def _files(root: Path) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder. Give the folder of the keypoint files.")
    found = [p for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
    found = [p for p in found if not p.name.startswith(".")]
    check_names(found)
    if not found:
        raise FileNotFoundError(f"No keypoint file below {root}: expected .json, .npz, .npy or .csv files.")
    return found
