"""`hmr4d lift`: a video, or 2D keypoints, of one camera in, 3D motion in meters out."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SKELETONS, SMPL22
from hmr4d.camera.camera_files import CameraFile, check_keypoints_fit, read_camera, read_rig, undistorted
from hmr4d.camera.floor_checks import check_on_floor, heights_over_floor
from hmr4d.camera.rig_samplers import feet_place, virtual_rig
from hmr4d.camera.walking_camera import checked_stature
from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.cli.detect import add_detector_options
from hmr4d.cli.lift_methods import MODEL, NO_GUESS, load_lifter
from hmr4d.cli.lift_video import SAME_ASPECT, VideoInputs, even_in_time, read_video
from hmr4d.detection.video_pictures import (
    VIDEOS,
    VideoMetadata,
    are_uneven,
    is_video,
    read_video_metadata,
    video_pictures,
)
from hmr4d.export.lift_npz import SIGMAS, LiftedPerson, lift_arrays, verdict_metadata
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.geometry.rigs import Rig
from hmr4d.keypoint_files.body_order import side_exchanges
from hmr4d.keypoint_files.gaps import SURE, bridge_gaps, drop_unsure, longest_unseen
from hmr4d.keypoint_files.reading import FORMATS, KeypointTrack, read_keypoints
from hmr4d.keypoint_files.smpl_joints import observed_depth, observed_joints
from hmr4d.methods.base import Pipeline
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.metrics.lift_checks import LiftCheck, check_lift, doubts
from hmr4d.metrics.lift_confidence import expected_error
from hmr4d.motion.ground_contact import standing_joints
from hmr4d.motion.motion import MotionBatch
from hmr4d.utils.command_line import command_line
from hmr4d.utils.files import file_stem
from hmr4d.visualization.motion_files import EXPORTS, check_exports, write_motion_files
from hmr4d.visualization.overlay import Overlay, OverlayPainter, write_overlay_sheet, write_overlay_video
from hmr4d.visualization.plan_view import PlanCamera, PlanPath, write_plan_view

logger = logging.getLogger(__name__)

USUAL_FPS = 30.0
MADE_UP_SECONDS = 0.5  # longer periods without a visible person give a warning
SLOWEST_FPS, FASTEST_FPS = 1.0, 1000.0
OVERLAYS = ("video", "sheet", "none")
DOUBTFUL = 3  # exit status
_ONE_SKELETON = ("bvh", "glb", "amass", "mesh", "webp")  # formats of a posed body
_OWN = ("npz", "html")  # written in any case


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d lift",
        description="Lifts a person from one fixed camera to metric 3D motion over the floor: from a video, in which "
        "people are detected first (docs/detect.md), or from the 2D keypoints of any detector (docs/lift.md). The "
        "camera file: docs/calibrate.md.",
        epilog="Examples: hmr4d lift video.mp4 --out outputs/lifted; hmr4d lift keypoints.json --camera camera.yaml",
    )
    known.add_argument(
        "keypoints",
        type=Path,
        metavar="INPUT",
        help="a video, a folder of images, a keypoint file, or an OpenPose folder",
    )
    known.add_argument(
        "--camera", type=Path, metavar="YAML", help="the camera file; without it, the camera of a video is estimated"
    )
    known.add_argument("--stature", type=float, metavar="M", help="of the person: checks the camera, or guesses it")
    known.add_argument("--camera-stands", action="store_true", help="go on where the camera seems to move")
    add_detector_options(known)
    known.add_argument("--format", choices=FORMATS, default="auto", help="of the keypoints (auto)")
    known.add_argument("--skeleton", choices=sorted(SKELETONS), help="joint set, if it cannot be detected")
    known.add_argument(
        "--person", metavar="WHO", help="an id, longest, all or, in videos, largest (longest; largest in videos)"
    )
    known.add_argument("--fps", type=float, help=f"frames per second, if no file contains it ({USUAL_FPS:g})")
    known.add_argument("--rig", type=Path, metavar="YAML", help="virtual cameras, instead of three around the person")
    known.add_argument(
        "--method", default=MODEL, help=f"{MODEL}, or a method without a network, see docs/lift.md ({MODEL})"
    )
    known.add_argument("--model", default=LIFTING_MODEL, help=f"name or folder ({LIFTING_MODEL})")
    known.add_argument(
        "--guess",
        metavar="NAME",
        help=f"whose motion models that draw begin from, or {NO_GUESS} ({LIFTING_MODEL})",
    )
    known.add_argument("--samples", type=int, default=1, metavar="K", help="motions that are averaged (1)")
    known.add_argument("--steps", type=int, metavar="N", help="diffusion steps instead of the model's own")
    known.add_argument(
        "--prior", type=Path, metavar="NPZ", help="poses for the methods without a network, by prepare.py"
    )
    known.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same motion (0)")
    known.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    known.add_argument(
        "--out", type=Path, default=Path("outputs/lifted"), metavar="DIR", help="folder (outputs/lifted)"
    )
    known.add_argument(
        "--export", metavar="LIST", help=f"more formats: {', '.join(f for f in EXPORTS if f not in _OWN)}"
    )
    known.add_argument("--strict", action="store_true", help="end with status 3 if a result is doubtful")
    known.add_argument("--video", type=Path, metavar="FILE", help="the video to draw the overlay on")
    known.add_argument(
        "--overlay",
        choices=OVERLAYS,
        default=OVERLAYS[0],
        help="a video and a contact sheet, only the sheet, or none; the video takes longest (video)",
    )
    known.add_argument("--overwrite", action="store_true", help="replace results of other keypoint files")
    return known


def lift(args: argparse.Namespace) -> tuple[list[Path], list[LiftedPerson]]:
    """Writes the requested results; returns the paths and the motion of every person."""
    formats = check_exports(args.export) if args.export else []
    if args.stature is not None:
        checked_stature(args.stature)
    if args.samples < 1:
        raise ValueError(f"--samples is {args.samples}; expected 1 or more.")
    if args.out.exists() and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out} is a file; expected a folder to write to.")
    args.is_video = is_video(args.keypoints)
    inputs: VideoInputs | None = None
    if args.is_video:
        if args.person != "all":
            free_names(args, ["0"])  # checked first, since detecting people takes minutes
        inputs = read_video(args)
        tracks, camera, video = inputs.tracks, inputs.camera, inputs.video
        args.video = args.keypoints
    else:
        tracks, camera, video = read_keypoint_inputs(args)
    choice: dict[str, Any] = {"device": args.device, "prior": args.prior, "guess": args.guess}
    lifter = load_lifter(args.method, args.model, keypoints=tracks[0].skeleton, **choice)
    if args.rig and not lifter.uses_virtual_views:
        raise ValueError(f"--rig is for models with virtual cameras; {lifter.method} uses only the real camera.")
    if lifter.skeleton != SMPL22 and (never := [name for name in formats if name in _ONE_SKELETON]):
        raise ValueError(
            f"--export {','.join(never)} accepts only joints of 'smpl22'; {lifter.method} returns "
            f"'{lifter.skeleton.name}' here. Choose a model of SMPL joints, or csv and npz."
        )
    people: list[LiftedPerson] = []
    stem, names = free_names(args, [track.person for track in tracks])
    written = [] if inputs is None else inputs.write(args.out, stem)
    for track, name in zip(tracks, names, strict=True):
        try:
            lifted = with_origin(lift_track(track, camera, lifter, args), lifter, args)
        except ValueError as error:
            if len(tracks) == 1:
                raise
            logger.warning("Person %s, visible in %d frames, is skipped: %s", track.person, track.num_seen, error)
            continue
        lifted = replace(lifted, times=None if video is None else video.times_of(lifted.frame_ids))
        people.append(lifted)
        written += write_person(args, name, lifted, formats)
    if not people:
        raise ValueError(f"None of the {len(tracks)} people in {args.keypoints} could be lifted.")
    if len(people) > 1:
        written.append(args.out / f"{stem}_plan.png")
        write_plan_view(
            written[-1],
            [_path(p, f"person {p.person}") for p in people],
            _cameras(people[0])[:1],
            title=f"{stem}: {len(people)} people",
        )
    return written, people


def free_names(args: argparse.Namespace, people: Sequence[str]) -> tuple[str, list[str]]:
    """The file stem of the results: that of the keypoint file, with its suffix if another file has the same stem.

    Raises:
        FileExistsError: both are results of other keypoint files, and --overwrite was not given.
    """
    file, taken = args.keypoints, None
    for stem in (file_stem(file.stem), file_stem(f"{file.stem}_{file.suffix.removeprefix('.')}")):
        names = result_names(stem, people, alone=args.person != "all")
        try:
            for name in names:
                check_place(args.out / f"{name}.npz", file, overwrite=args.overwrite)
            return stem, names
        except FileExistsError as error:
            taken = taken or error
            if not file.suffix or not _is_twin(args.out / f"{names[0]}.npz", file):
                break
    assert taken is not None
    raise taken


def _is_twin(result: Path, file: Path) -> bool:
    """Whether a result belongs to a file that differs from `file` only in its suffix, such as `walk.npz` and
    `walk.json`."""
    try:
        other = Path(str(load_motion_npz(result).metadata.get("keypoints", "")))
    except (ValueError, OSError):
        return False
    return other.stem == file.stem and other.suffix != file.suffix and other.parent == file.resolve().parent


def result_names(stem: str, people: Sequence[str], *, alone: bool) -> list[str]:
    """Names of the results without suffix, one per person; names that differ only in case also get a number."""
    if alone:
        return [stem] * len(people)
    names: list[str] = []
    for person in people:
        name, taken = file_stem(f"{stem}_p{person}"), {other.casefold() for other in names}
        number = next(n for n in range(1, len(names) + 2) if (f"{name}-{n}" if n > 1 else name).casefold() not in taken)
        names.append(f"{name}-{number}" if number > 1 else name)
    return names


def check_place(path: Path, keypoints: Path, *, overwrite: bool) -> None:
    """FileExistsError when a result of another keypoint file is at `path`, unless it may be replaced."""
    if overwrite or not path.is_file():
        return
    try:
        other = load_motion_npz(path).metadata.get("keypoints")
    except ValueError:
        other = None
    if other != str(keypoints.resolve()):
        whose = f"the result of {other}" if other else "an existing file that is no result of these keypoints"
        raise FileExistsError(f"{path} is {whose}. Choose another folder with --out, or replace it with --overwrite.")


def read_keypoint_inputs(
    args: argparse.Namespace,
) -> tuple[list[KeypointTrack], CameraFile, VideoMetadata | None]:
    """Tracks of a keypoint file, their camera, and the metadata of the video for the overlay."""
    if not args.keypoints.exists():
        raise FileNotFoundError(f"Not found: {args.keypoints}. Check the path.")
    if args.camera is None:
        raise ValueError(
            f"--camera is missing: {args.keypoints} is read as a keypoint file, which does not contain the camera "
            f"(see docs/calibrate.md). Video files have the suffix {', '.join(VIDEOS[:5])} or another common one."
        )
    camera = read_camera(args.camera)
    video = None if args.video is None else check_video(args.video, camera)
    args.person = args.person or "longest"
    tracks = read_tracks(args, camera)
    fps = frame_rate(args.fps, tracks[0].fps, None if video is None else video.fps)
    tracks = [replace(track, fps=fps) for track in tracks]
    if args.fps is None:
        tracks = [
            track if (times := track.times) is None or not are_uneven(times) else even_in_time(track, times, fps)
            for track in tracks
        ]
    return tracks, camera, video


def read_tracks(args: argparse.Namespace, camera: CameraFile) -> list[KeypointTrack]:
    """The selected tracks, in pixels of a pinhole camera of this size."""
    found = read_keypoints(args.keypoints, args.format, args.person, skeleton=args.skeleton, size=camera.size)
    tracks = found if isinstance(found, list) else [found]
    check_keypoints_fit(tracks[0], camera)
    return [undistorted(track, camera) for track in tracks]


def frame_rate(asked: float | None, told: float | None, video: float | None) -> float:
    """Frames per second of the keypoints: from the option, else their file, else the video, else the default.

    Raises:
        ValueError: an impossible rate.
    """
    fps = next((rate for rate in (asked, told, video) if rate is not None), None)
    if fps is None:
        logger.info("The keypoint file contains no frame rate; %g frames per second are assumed (--fps).", USUAL_FPS)
        fps = USUAL_FPS
    if not (math.isfinite(fps) and SLOWEST_FPS <= fps <= FASTEST_FPS):
        raise ValueError(f"The frame rate is {fps}; expected {SLOWEST_FPS:g} to {FASTEST_FPS:g} frames per second.")
    if video is not None and abs(fps - video) > 0.01 * video:
        logger.warning("The keypoints are taken at %g frames per second, the video has %g.", fps, video)
    return float(fps)


def deployment_rig(camera: CameraFile, kp2d: torch.Tensor, conf: torch.Tensor, lifter: Pipeline) -> Rig:
    """The camera and virtual copies of it around the median position of the person's feet, float64."""
    distance, lateral = feet_place(camera.rig, kp2d.double(), conf >= SURE, lifter.input_skeleton, lifter.foot_heights)
    side = "left" if lateral < 0 else "right"
    logger.info("The feet are mostly %.1f m ahead of the camera and %.1f m to its %s.", distance, abs(lateral), side)
    return virtual_rig(camera.rig, distance, lateral)


def lift_track(track: KeypointTrack, camera: CameraFile, lifter: Pipeline, args: argparse.Namespace) -> LiftedPerson:
    """One person's motion."""
    check_on_floor(track, camera, _own_heights(track, lifter))
    fps = USUAL_FPS if track.fps is None else track.fps
    found = drop_unsure(torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), lifter.min_conf)
    kp2d, conf = observed_joints(*found, track.skeleton, lifter.skeleton)
    lifted2d, lifted_conf = observed_joints(*bridge_gaps(*found, fps), track.skeleton, lifter.input_skeleton)
    _tell_exchanges(track)
    first, unseen = longest_unseen(lifted_conf)
    if unseen / fps > MADE_UP_SECONDS:
        logger.warning(
            "Person %s is not visible for %.1f s from frame %d on; the motion there is interpolated.",
            track.person,
            unseen / fps,
            track.frame_ids[first],
        )
    if not lifter.uses_virtual_views:
        rig = camera.rig
    else:
        rig = read_rig(args.rig, camera) if args.rig else deployment_rig(camera, lifted2d, lifted_conf, lifter)
    hints: dict[str, Any] = {}
    if lifter.uses_depth and track.depth is not None:
        hints["depth"] = observed_depth(torch.from_numpy(track.depth), track.skeleton, lifter.input_skeleton)[None]
    output = lifter.lift(
        lifted2d[None],
        lifted_conf[None],
        rig.to(torch.float32),
        fps=fps,
        seed=args.seed,
        num_samples=args.samples,
        num_inference_steps=args.steps,
        **hints,
    )
    lifted = _lifted_person(output, track, kp2d, conf, rig, lifter)
    stature = None if args.person == "all" else args.stature  # of one person
    lifted = replace(lifted, checks=judge(track, camera, lifted, lifter, stature))
    errors = _overlay(lifted).errors
    away = np.linalg.norm(lifted.root[:, [0, 2]], axis=1)
    sure = "" if lifted.motion.uncertainty is None else f", confidence {lifted.confidence.mean():.2f}"
    logger.info(
        "Person %s: %d frames, %.1f to %.1f m away, mean reprojection error %.1f pixels%s.",
        track.person,
        lifted.motion.num_frames,
        away.min(),
        away.max(),
        np.nanmean(errors),
        sure,
    )
    if lifted.motion.provenance.more.get("depth") == "relative":
        logger.warning(
            "Person %s: the depth of this model is relative; distances and sizes are those of a usual height.",
            track.person,
        )
    for check in doubts(lifted.checks):
        logger.warning("Person %s: the result is doubtful; %s", track.person, check.advice)
    return lifted


def _tell_exchanges(track: KeypointTrack) -> None:
    """Warns about frames in which left and right keypoints are exchanged."""
    seen = np.where(track.kp2d_conf >= SURE, track.kp2d_conf, 0)
    if found := side_exchanges(np.concatenate([track.kp2d, seen[..., None]], -1), track.skeleton):
        logger.warning(
            "Person %s: left and right are exchanged from one frame to the next, %d times, first before frame %d. The "
            "motion turns around there; correct the keypoints.",
            track.person,
            len(found),
            track.frame_ids[found[0]],
        )


def _lifted_person(
    output: MotionBatch, track: KeypointTrack, kp2d: Tensor, conf: Tensor, rig: Rig, lifter: Pipeline
) -> LiftedPerson:
    """The motion of a batch of one, with its cameras and its uncertainty."""
    made = output[0]
    assert made.views is not None
    names = ["camera", *(f"virtual {view}" for view in range(1, rig.num_views))]
    sigma = {key: output.extras[key][0, : made.num_frames] for key in SIGMAS if key in output.extras}
    if "uncertainty" in output.extras:
        uncertainty: Tensor | None = output.extras["uncertainty"][0, : made.num_frames]
    else:
        uncertainty = expected_error(output, 0, kp2d, conf) if lifter.uses_virtual_views else None
    motion = replace(made, views=replace(made.views, rig=rig, names=names), uncertainty=uncertainty)
    return LiftedPerson(
        motion,
        track.person,
        lifter.method,
        residual=output.extras["residual"][0, : made.num_frames].numpy(),
        spread=output.extras["spread"][0, : made.num_frames].numpy(),
        contacts=standing_joints(made.joints3d, fps=made.fps, skeleton=made.skeleton).numpy(),
        kp2d=kp2d.numpy(),
        kp2d_conf=conf.numpy(),
        frame_ids=track.frame_ids,
        sigma={key: x.numpy() for key, x in sigma.items()},
    )


def with_origin(lifted: LiftedPerson, lifter: Pipeline, args: argparse.Namespace) -> LiftedPerson:
    """A copy with a caption, and with its origin and verdict in the provenance of the motion."""
    about = {
        **lifter.about,
        "method": lifted.method,
        "seed": args.seed,
        "samples": args.samples,
        "keypoints": str(args.keypoints.resolve()),
        "camera": args.camera.name if args.camera else "guessed",
        "command": command_line(),
        **verdict_metadata(lifted),
    }
    caption = f"{args.keypoints.name}, person {lifted.person}"
    provenance = lifted.motion.provenance.updated(**about)
    return replace(lifted, motion=replace(lifted.motion, text=caption, provenance=provenance))


def _own_heights(track: KeypointTrack, lifter: Pipeline) -> Mapping[str, float] | None:
    """Heights of standing feet where the keypoints are the joints of the lifter itself; None: those of a detector."""
    return lifter.foot_heights if track.skeleton.name == lifter.skeleton.name else None


def judge(
    track: KeypointTrack, camera: CameraFile, lifted: LiftedPerson, lifter: Pipeline, stature: float | None = None
) -> tuple[LiftCheck, ...]:
    """Provenance of the motion: keypoints and camera."""
    kp2d, conf = torch.from_numpy(lifted.kp2d), torch.from_numpy(lifted.kp2d_conf)
    rest = load_light_body().rest_joints
    if lifter.skeleton.name != SMPL22.name:
        rest = convert_joints(rest, SMPL22, lifter.skeleton)
    heights = heights_over_floor(track, camera, _own_heights(track, lifter))
    return check_lift(
        lifted.motion, kp2d, conf, camera.rig, rest_joints=rest.double(), heights=heights, stature=stature
    )


def write_person(args: argparse.Namespace, name: str, lifted: LiftedPerson, formats: Sequence[str]) -> list[Path]:
    """All files of one person; the paths written."""
    motion = lifted.motion
    own = list(dict.fromkeys([*_OWN, *formats]))
    written = write_motion_files(motion, args.out, name, own, options={"npz": {"arrays": lift_arrays(lifted)}})
    written.append(args.out / f"{name}_plan.png")
    write_plan_view(written[-1], [_path(lifted, "")], _cameras(lifted), title=motion.text)
    return written + write_overlays(args, name, lifted)


def write_overlays(args: argparse.Namespace, name: str, lifted: LiftedPerson) -> list[Path]:
    """Writes the requested overlays; returns the paths."""
    rig = lifted.rig
    width, height = rig.size[0].tolist()
    painter = OverlayPainter((int(width), int(height)), rig.K4[0].numpy(), rig.T_w2c[0].numpy())
    overlay, written = [_overlay(lifted)], []
    if args.overlay != "none":
        written.append(args.out / f"{name}_overlay.png")
        write_overlay_sheet(written[-1], painter, overlay)
    if args.overlay == "video":
        written.append(args.out / f"{name}_overlay.mp4")
        pictures = None if args.video is None else video_pictures(args.video, lifted.frame_ids.tolist())
        write_overlay_video(written[-1], painter, overlay, fps=lifted.motion.fps, pictures=pictures)
    return written


def check_video(path: Path, camera: CameraFile) -> VideoMetadata:
    """Metadata of a video; warns about uneven frame times.

    Raises:
        FileNotFoundError: the file does not exist. ValueError: it cannot be decoded, or its aspect ratio differs from
            that of the camera's image.
    """
    facts = read_video_metadata(path)
    (width, height), size = facts.size, camera.size
    if abs(width / height * size[1] / size[0] - 1) > SAME_ASPECT:
        raise ValueError(
            f"{path} has frames of {width} x {height} pixels, but the camera's image is {size[0]} x {size[1]}. "
            "Keypoints, camera file and video must belong to the same images."
        )
    if facts.uneven:
        logger.warning("%s %s", path, facts.uneven)
    return facts


def _overlay(lifted: LiftedPerson) -> Overlay:
    motion = lifted.motion
    assert motion.views is not None
    joints2d = motion.views.joints2d[0].numpy()
    return Overlay(joints2d, lifted.kp2d, lifted.kp2d_conf, motion.skeleton, int(lifted.frame_ids[0]))


def _cameras(lifted: LiftedPerson) -> list[PlanCamera]:
    assert lifted.motion.views is not None
    rig = lifted.rig
    cameras = zip(rig.T_w2c.numpy(), rig.K4.numpy(), rig.size.tolist(), lifted.motion.views.names, strict=True)
    return [
        PlanCamera(T, K4, (width, height), name, is_real=view == 0)
        for view, (T, K4, (width, height), name) in enumerate(cameras)
    ]


def _path(lifted: LiftedPerson, name: str) -> PlanPath:
    return PlanPath(lifted.motion, lifted.contacts, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when everything was written, 2 after one sentence about bad input, 3 for doubts if --strict."""
    setup_logging()
    args: Any = parser().parse_args(argv)

    def run() -> int:
        written, people = lift(args)
        logger.info("%d files in %s.", len(written), args.out)
        return DOUBTFUL if args.strict and any(person.verdict == "doubtful" for person in people) else 0

    return run_guarded(run, out=args.out)
