"""Readers for files of human mesh recovery systems, which are detected by content and converted to clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hmr4d.export.motion_npz import is_motion_file
from hmr4d.reference_motion.adapters.aistpp import AISTPP
from hmr4d.reference_motion.adapters.amass import AMASS
from hmr4d.reference_motion.adapters.base import Adapter, Source
from hmr4d.reference_motion.adapters.camerahmr import CAMERAHMR
from hmr4d.reference_motion.adapters.gvhmr import GVHMR
from hmr4d.reference_motion.adapters.phalp import PHALP
from hmr4d.reference_motion.adapters.plain import PLAIN, SMPLESTX
from hmr4d.reference_motion.adapters.prompthmr import PROMPTHMR
from hmr4d.reference_motion.adapters.tram import TRAM
from hmr4d.reference_motion.adapters.wham import WHAM
from hmr4d.reference_motion.body_track import BodyTrack, ReadOptions, clip_of_track
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.clip_file import load_clip
from hmr4d.reference_motion.reference_file import is_reference, reference_of
from hmr4d.reference_motion.video_camera import VideoCamera
from hmr4d.utils.foreign_files import read_tree

# In the order in which they are asked: those with the plainest marks first.
ADAPTERS = (GVHMR, PROMPTHMR, WHAM, PHALP, TRAM, CAMERAHMR, AMASS, AISTPP, SMPLESTX, PLAIN)
ENDINGS = (".pt", ".pth", ".pkl", ".npy", ".npz", ".joblib")
OWN = "hmr4d"  # motion files and reference motions of this package


def read_clip(path: str | Path, options: ReadOptions | None = None) -> ReferenceClip:
    """The motion of one person in a file of any known system.

    Args:
        path: a file, or the folder of a TRAM result.
        options: read options; None: the defaults of the file and its system.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, has an unknown format or no person, or has gaps that are too long; the message
            names the file.
    """
    path, options = Path(path), options or ReadOptions()
    try:
        if path.is_dir():
            adapter, tracks = TRAM, _folder_tracks(path, options)
        elif is_motion_file(path):
            return _own(load_clip(path), options)
        else:
            content = read_tree(path)
            if is_reference(content):
                reference = reference_of(content, fps=options.fps)
                clip = ReferenceClip(reference.motion(extra_frame=True), None, OWN)
                return _own(replace(clip, camera=reference.camera and _held(reference.camera)), options)
            adapter = adapter_of(content)
            tracks = tracks_of(adapter, Source(path, content, options.size, options.up))
        name, track = choose_person(tracks, options.person)
        return _among_others(clip_of_track(track, options, adapter.name), name, tracks, options)
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def adapter_of(content: Any) -> Adapter:
    """The adapter for the content of a file. Raises ValueError if the format is unknown."""
    for adapter in ADAPTERS:
        if adapter.matches(content):
            return adapter
    described = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
    raise ValueError(
        f"The format is unknown; the file contains {described or 'nothing'}. Known systems: "
        f"{', '.join(adapter.title for adapter in ADAPTERS)}; docs/reference_motion.md lists the content of their "
        "files."
    )


def tracks_of(adapter: Adapter, source: Source) -> Mapping[str, BodyTrack]:
    """Person -> track, from a file. Raises ValueError also for unexpected content."""
    try:
        return adapter.tracks(source)
    except (TypeError, LookupError, AttributeError, RuntimeError) as error:  # numbers for lists, lists for names, ...
        raise ValueError(
            f"The file looks like {adapter.title}, but a part has an unexpected type ({type(error).__name__}: "
            f"{error}). "
            "docs/reference_motion.md lists the content of its files."
        ) from error


def choose_person(tracks: Mapping[str, BodyTrack], name: str | None) -> tuple[str, BodyTrack]:
    """The track of a person by name, or the one with the most frames. Raises ValueError with the names if it does
    not exist."""
    if not tracks:
        raise ValueError("The file contains no person.")
    if name is None:
        name = max(tracks, key=lambda key: tracks[key].num_frames)
    if name not in tracks:
        raise ValueError(f"The file has no person '{name}'; it has {people_in(tracks)}.")
    return name, tracks[name]


def people_in(tracks: Mapping[str, BodyTrack]) -> str:
    """The people of a file as text, sorted by number of frames."""
    order = sorted(tracks, key=lambda key: -tracks[key].num_frames)
    return ", ".join(f"{name} ({tracks[name].num_frames} frames)" for name in order)


def _among_others(
    clip: ReferenceClip, name: str, tracks: Mapping[str, BodyTrack], options: ReadOptions
) -> ReferenceClip:
    if options.person is not None or len(tracks) == 1:
        return clip
    remark = f"The file has {len(tracks)} people: {people_in(tracks)}. Person {name} was selected (--person)."
    return replace(clip, remarks=(remark, *clip.remarks))


def _folder_tracks(folder: Path, options: ReadOptions) -> dict[str, BodyTrack]:
    """The people of a TRAM result, which has one file per person."""
    files = sorted([*folder.glob("hps/hps_track_*.npy"), *folder.glob("hps_track_*.npy")])
    if not files:
        raise ValueError("The folder contains no hps_track_*.npy of TRAM. Give a file.")
    tracks: dict[str, BodyTrack] = {}
    for file in files:
        tracks |= tracks_of(TRAM, Source(file, read_tree(file), options.size))
    return tracks


def _held(camera: VideoCamera) -> VideoCamera:
    """A camera with its last frame repeated, for the frame after the last row of a reference motion."""
    return replace(camera, T_w2c=torch.cat([camera.T_w2c, camera.T_w2c[-1:]]))


def _own(clip: ReferenceClip, options: ReadOptions) -> ReferenceClip:
    """A clip of this package with the requested rate and frames. Raises ValueError for unsupported options."""
    named = {"--person": options.person, "--up": options.up, "--scale": options.scale if options.scale != 1 else None}
    named["--space camera"] = True if options.space == "camera" else None
    if given := [name for name, value in named.items() if value is not None]:
        raise ValueError(
            f"{', '.join(given)}: not supported, because files of this package contain one person in a "
            "world with y up, in meters. Remove these options."
        )
    if options.fps is not None:
        clip = replace(clip, motion=replace(clip.motion, fps=options.fps))
    return clip if options.first is None and options.last is None else _cut(clip, options.first, options.last)


def _cut(clip: ReferenceClip, first: int | None, last: int | None) -> ReferenceClip:
    """The part of a clip between two frame numbers of the video; if these are unknown, frames are counted from 0."""
    motion, pose = clip.motion, clip.motion.pose
    numbers = range(motion.num_frames) if clip.frames is None else clip.frames
    start = numbers[0] if first is None else max(first, numbers[0])
    end = numbers[-1] if last is None else min(last, numbers[-1])
    if end < start:
        raise ValueError(f"The motion has frames {numbers[0]} to {numbers[-1]}, none of the requested ones.")
    frames = slice(start - numbers[0], end - numbers[0] + 1)
    if pose is not None:
        pose = replace(pose, rotations=pose.rotations[frames], translation=pose.translation[frames])
    camera = clip.camera and replace(clip.camera, T_w2c=clip.camera.T_w2c[frames])
    cut = replace(motion, joints3d=motion.joints3d[frames], pose=pose, views=None, uncertainty=None)
    return replace(clip, motion=cut, camera=camera, frames=list(range(start, end + 1)))
