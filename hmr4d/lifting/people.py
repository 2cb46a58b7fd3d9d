"""Lifts the people of a video or a keypoint file and writes their motion files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.camera.camera_files import CameraFile
from hmr4d.detection.video_pictures import is_video
from hmr4d.export.lift_npz import LiftedPerson
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.lifting.keypoint_inputs import read_keypoint_inputs
from hmr4d.lifting.lifter import load_lifter
from hmr4d.lifting.person import lift_track, with_origin
from hmr4d.lifting.request import LiftRequest
from hmr4d.lifting.results import free_names, write_person, write_plan_of_all
from hmr4d.lifting.video_inputs import read_video
from hmr4d.methods.base import Pipeline

logger = logging.getLogger(__name__)

_POSED_FORMATS = ("bvh", "glb", "amass", "mesh", "webp")  # they need SMPL joints


class LiftResults(NamedTuple):
    """The result of a request.

    Attributes:
        written: paths of all files.
        people: motion of every lifted person.
    """

    written: list[Path]
    people: list[LiftedPerson]


def lift_people(request: LiftRequest) -> LiftResults:
    """Lifts the selected people and writes the requested files. Of several people, those that fail are skipped with a
    warning.

    Raises:
        FileNotFoundError: a file or a model does not exist.
        FileExistsError: results of other keypoint files are in the way.
        ValueError: a file cannot be read, options contradict each other, or nobody could be lifted.
    """
    if is_video(request.keypoints):
        if not request.is_everyone:
            free_names(request, ["0"])  # checked first, since detecting people takes minutes
        from_video = read_video(request)
        tracks, camera, metadata, video = from_video.tracks, from_video.camera, from_video.video, request.keypoints
    else:
        from_video, video = None, request.video
        tracks, camera, metadata = read_keypoint_inputs(request)
    lifter = _checked_lifter(request, tracks[0].skeleton)
    stem, names = free_names(request, [track.person for track in tracks])
    written = [] if from_video is None else from_video.write(request.out, stem)
    people = _lifted(request, tracks, camera, lifter)
    for track, name in zip(tracks, names, strict=True):
        if track.person not in people:
            continue
        times = None if metadata is None else metadata.times_of(people[track.person].frame_ids)
        people[track.person] = replace(people[track.person], times=times)
        written += write_person(request, name, people[track.person], camera, video)
    if len(people) > 1:
        written.append(request.out / f"{stem}_plan.png")
        write_plan_of_all(written[-1], list(people.values()), f"{stem}: {len(people)} people")
    return LiftResults(written, list(people.values()))


def _checked_lifter(request: LiftRequest, keypoints: Skeleton) -> Pipeline:
    """The lifter of a request; ValueError for options that it does not support."""
    lifter = load_lifter(
        request.method,
        request.model,
        keypoints=keypoints,
        device=request.device,
        prior=request.prior,
        guess=request.guess,
    )
    if request.rig and not lifter.uses_virtual_views:
        raise ValueError(f"--rig is for models with virtual cameras; {lifter.method} uses only the real camera.")
    if lifter.skeleton != SMPL22 and (never := [name for name in request.formats if name in _POSED_FORMATS]):
        raise ValueError(
            f"--export {','.join(never)} accepts only joints of 'smpl22'; {lifter.method} returns "
            f"'{lifter.skeleton.name}' here. Choose a model of SMPL joints, or csv and npz."
        )
    return lifter


def _lifted(
    request: LiftRequest, tracks: Sequence[KeypointTrack], camera: CameraFile, lifter: Pipeline
) -> dict[str, LiftedPerson]:
    """The lifted motions by person; ValueError if there is none."""
    people: dict[str, LiftedPerson] = {}
    for track in tracks:
        try:
            people[track.person] = with_origin(lift_track(track, camera, lifter, request), lifter, request)
        except ValueError as error:
            if len(tracks) == 1:
                raise
            logger.warning("Person %s, visible in %d frames, is skipped: %s", track.person, track.num_seen, error)
    if not people:
        raise ValueError(f"None of the {len(tracks)} people in {request.keypoints} could be lifted.")
    return people
