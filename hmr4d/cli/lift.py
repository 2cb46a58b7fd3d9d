"""`hmr4d lift`: 2D keypoints of one calibrated camera in, 3D motion in metres out."""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hmr4d.body.joint_conventions import convention_facts
from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SKELETONS, SMPL22
from hmr4d.camera.camera_files import CameraFile, check_keypoints_fit, read_camera, read_rig, undistorted
from hmr4d.camera.floor_checks import check_on_floor, frame_statures
from hmr4d.camera.rig_samplers import feet_place, virtual_rig
from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.cli.lift_methods import MODEL, load_lifter
from hmr4d.export.lift_npz import LiftedMotion, save_lift_npz
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.geometry.rigs import Rig
from hmr4d.keypoint_files.gaps import SURE, bridge_gaps, drop_unsure
from hmr4d.keypoint_files.reading import FORMATS, KeypointTrack, read_keypoints
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.methods.base import Pipeline
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.methods.lifting_baselines.table import USABLE
from hmr4d.metrics.lift_checks import LiftCheck, check_lift, doubts
from hmr4d.metrics.lift_confidence import camera_joints, joint_confidence
from hmr4d.motion.ground_contact import standing_joints
from hmr4d.motion.lift_output import LiftOutput
from hmr4d.utils.command_line import command_line
from hmr4d.utils.files import file_stem
from hmr4d.visualization.html_viewer import ViewerMotion, write_html
from hmr4d.visualization.motion_files import EXPORTS, check_exports, export_paths
from hmr4d.visualization.overlay import Overlay, OverlayPainter, write_overlay_sheet, write_overlay_video
from hmr4d.visualization.page_views import ImageViews
from hmr4d.visualization.plan_view import PlanCamera, PlanPath, write_plan_view
from hmr4d.visualization.video_pictures import VideoFacts, read_facts, video_pictures

logger = logging.getLogger(__name__)

USUAL_FPS = 30.0
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
SLOWEST_FPS, FASTEST_FPS = 1.0, 1000.0
SAME_ASPECT = 0.02  # share by which the sides of a video may differ from those of the camera's image
OVERLAYS = ("video", "sheet", "none")
DOUBTFUL = 3  # exit status
_ONE_SKELETON = ("bvh", "glb", "amass", "mesh", "webp")  # formats of a posed body
_OWN = ("npz", "html")  # written here, with more in them


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d lift",
        description="Lifts a person's 2D keypoints from one fixed, calibrated camera to 3D motion in metres over the "
        "floor. Keypoint files and results: docs/lift.md; the camera file: docs/calibrate.md.",
        epilog="Example: hmr4d lift keypoints.json --camera camera.yaml --out outputs/lifted",
    )
    known.add_argument("keypoints", type=Path, metavar="KEYPOINTS", help="file of keypoints, or an OpenPose folder")
    known.add_argument("--camera", type=Path, required=True, metavar="YAML", help="the camera that saw them")
    known.add_argument("--format", choices=FORMATS, default="auto", help="of the keypoints (auto)")
    known.add_argument("--skeleton", choices=sorted(SKELETONS), help="joint set, where the file does not tell")
    known.add_argument("--person", default="longest", metavar="WHO", help="an id, longest or all (longest)")
    known.add_argument("--fps", type=float, help=f"frames per second, where no file tells ({USUAL_FPS:g})")
    known.add_argument("--rig", type=Path, metavar="YAML", help="virtual cameras, instead of three around the person")
    known.add_argument("--method", default=MODEL, help=f"{MODEL}, or without a network: {', '.join(USABLE)} ({MODEL})")
    known.add_argument("--model", default=LIFTING_MODEL, help=f"name or folder ({LIFTING_MODEL})")
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
    known.add_argument("--strict", action="store_true", help="end with status 3 where a result is doubtful")
    known.add_argument("--video", type=Path, metavar="FILE", help="the video, to draw over")
    known.add_argument(
        "--overlay", choices=OVERLAYS, default=OVERLAYS[0],
        help="a video and a sheet of pictures, the sheet alone, or none; the video takes longest (video)",
    )  # fmt: skip
    known.add_argument("--overwrite", action="store_true", help="replace results of other keypoint files")
    return known


def lift(args: argparse.Namespace) -> tuple[list[Path], list[LiftedMotion]]:
    """Writes what `args` ask for; the paths written, and everybody's motion."""
    formats = check_exports(args.export) if args.export else []
    if args.samples < 1:
        raise ValueError(f"--samples is {args.samples}; expected 1 or more.")
    if args.out.exists() and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out} is a file; expected a folder to write to.")
    camera = read_camera(args.camera)
    video = None if args.video is None else check_video(args.video, camera)
    tracks = read_tracks(args, camera)
    fps = frame_rate(args.fps, tracks[0].fps, None if video is None else video.fps)
    tracks = [replace(track, fps=fps) for track in tracks]
    lifter = load_lifter(
        args.method, args.model, device=args.device, keypoints=tracks[0].skeleton, prior=args.prior
    )  # fmt: skip
    if args.rig and not lifter.uses_virtual_views:
        raise ValueError(f"--rig is for models that use virtual cameras; {lifter.method} looks at the real one alone.")
    if lifter.skeleton != SMPL22 and (never := [name for name in formats if name in _ONE_SKELETON]):
        raise ValueError(
            f"--export {','.join(never)} takes joints of 'smpl22' only; {lifter.method} gives "
            f"'{lifter.skeleton.name}' here. Choose a model of SMPL joints, or csv and npz."
        )
    written: list[Path] = []
    people: list[LiftedMotion] = []
    stem, names = free_names(args, [track.person for track in tracks])
    for track, name in zip(tracks, names, strict=True):
        try:
            motion, output = lift_track(track, camera, lifter, args)
        except ValueError as error:
            if len(tracks) == 1:
                raise
            logger.warning("Person %s, seen in %d frames, is left out: %s", track.person, track.num_seen, error)
            continue
        motion = replace(motion, times=None if video is None else video.times_of(motion.frame_ids))
        people.append(motion)
        written += write_person(args, name, motion, output, lifter, formats)
    if not people:
        raise ValueError(f"None of the {len(tracks)} people in {args.keypoints} could be lifted.")
    if len(people) > 1:
        written.append(args.out / f"{stem}_plan.png")
        write_plan_view(written[-1], [_path(p, f"person {p.person}") for p in people], _cameras(people[0])[:1],
                        fps=people[0].fps, title=f"{stem}: {len(people)} people")  # fmt: skip
    return written, people


def free_names(args: argparse.Namespace, people: Sequence[str]) -> tuple[str, list[str]]:
    """The stem of the results and their names: that of the keypoint file, with its ending where another one took them.

    Raises:
        FileExistsError: both are results of other keypoint files, and nothing says that these may be replaced.
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
    """Whether a result is of a file that differs from `file` in its ending alone, as `walk.npz` from `walk.json`."""
    try:
        other = Path(str(load_motion_npz(result).metadata.get("keypoints", "")))
    except (ValueError, OSError):
        return False
    return other.stem == file.stem and other.suffix != file.suffix and other.parent == file.resolve().parent


def result_names(stem: str, people: Sequence[str], *, alone: bool) -> list[str]:
    """Names of the results, without endings, one for each person; names that differ in case alone get a number too."""
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
        whose = f"the result of {other}" if other else "there already, and no result of these keypoints"
        raise FileExistsError(f"{path} is {whose}. Choose another folder with --out, or replace it with --overwrite.")


def read_tracks(args: argparse.Namespace, camera: CameraFile) -> list[KeypointTrack]:
    """The tracks asked for, in pixels of a pinhole camera of this size."""
    if args.keypoints.suffix.lower() in VIDEOS:
        raise ValueError(
            f"{args.keypoints} is a video; this command wants the keypoints that a pose detector found in it, and the "
            "video itself as --video. Formats of keypoint files are in docs/lift.md."
        )
    found = read_keypoints(args.keypoints, args.format, args.person, skeleton=args.skeleton, size=camera.size)
    tracks = found if isinstance(found, list) else [found]
    check_keypoints_fit(tracks[0], camera)
    return [undistorted(track, camera) for track in tracks]


def frame_rate(asked: float | None, told: float | None, video: float | None) -> float:
    """Frames per second of the keypoints: as asked, else as their file tells, else those of the video, else the usual.

    Raises:
        ValueError: a rate that no camera has.
    """
    fps = next((rate for rate in (asked, told, video) if rate is not None), None)
    if fps is None:
        logger.info("The keypoints say nothing about time; taken as %g frames per second (--fps).", USUAL_FPS)
        fps = USUAL_FPS
    if not (math.isfinite(fps) and SLOWEST_FPS <= fps <= FASTEST_FPS):
        raise ValueError(f"The frame rate is {fps}; expected {SLOWEST_FPS:g} to {FASTEST_FPS:g} frames per second.")
    if video is not None and abs(fps - video) > 0.01 * video:
        logger.warning("The keypoints are taken at %g frames per second, the video has %g.", fps, video)
    return float(fps)


def deployment_rig(camera: CameraFile, kp2d: torch.Tensor, conf: torch.Tensor, lifter: Pipeline) -> Rig:
    """The camera and virtual copies of it around the median place of the person's feet, float64."""
    distance, lateral = feet_place(camera.rig, kp2d.double(), conf >= SURE, lifter.skeleton, lifter.foot_heights)
    side = "left" if lateral < 0 else "right"
    logger.info("The feet are mostly %.1f m ahead of the camera and %.1f m to its %s.", distance, abs(lateral), side)
    return virtual_rig(camera.rig, distance, lateral)


def lift_track(
    track: KeypointTrack, camera: CameraFile, lifter: Pipeline, args: argparse.Namespace
) -> tuple[LiftedMotion, LiftOutput]:
    """One person's motion."""
    check_on_floor(track, camera)
    fps = USUAL_FPS if track.fps is None else track.fps
    found = drop_unsure(torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), lifter.min_conf)
    kp2d, conf = observed_joints(*found, track.skeleton, lifter.skeleton)
    lifted2d, lifted_conf = observed_joints(*bridge_gaps(*found, fps), track.skeleton, lifter.skeleton)
    if not lifter.uses_virtual_views:
        rig = camera.rig
    else:
        rig = read_rig(args.rig, camera) if args.rig else deployment_rig(camera, lifted2d, lifted_conf, lifter)
    output = lifter.lift(
        lifted2d[None], lifted_conf[None], rig.to(torch.float32), fps=fps, seed=args.seed, num_samples=args.samples,
        num_inference_steps=args.steps,
    )  # fmt: skip
    joints3d, length = output.motion(0), int(output.lengths[0])
    confidence = (
        joint_confidence(output, 0, kp2d, conf) if lifter.uses_virtual_views else torch.full_like(conf, torch.nan)
    )
    motion = LiftedMotion(
        joints_world=joints3d.numpy(), joints_cam=camera_joints(output, 0).numpy(), confidence=confidence.numpy(),
        residual=output.residual[0, :length].numpy(), spread=output.spread[0, :length].numpy(),
        contacts=standing_joints(joints3d, fps=output.fps, skeleton=output.skeleton).numpy(),
        kp2d=kp2d.numpy(), kp2d_conf=conf.numpy(), frame_ids=track.frame_ids, size=rig.size.numpy(),
        K4=rig.K4.numpy(), T_w2c=rig.T_w2c.numpy(), fps=output.fps, skeleton=output.skeleton, person=track.person,
        seed=args.seed, method=lifter.method,
    )  # fmt: skip
    motion = replace(motion, checks=judge(track, camera, motion, lifter))
    errors = _overlay(motion, output).errors
    away = np.linalg.norm(motion.root[:, [0, 2]], axis=1)
    sure = f", confidence {motion.confidence.mean():.2f}" if lifter.uses_virtual_views else ""
    logger.info(
        "Person %s: %d frames, %.1f to %.1f m away, reprojection %.1f pixels in the mean%s.", track.person, length,
        away.min(), away.max(), np.nanmean(errors), sure,
    )  # fmt: skip
    for check in doubts(motion.checks):
        logger.warning("Person %s: the result is doubtful; %s", track.person, check.advice)
    return motion, output


def judge(track: KeypointTrack, camera: CameraFile, motion: LiftedMotion, lifter: Pipeline) -> tuple[LiftCheck, ...]:
    """What the motion itself says of keypoints and camera."""
    joints3d, kp2d, conf = (torch.from_numpy(x) for x in (motion.joints_world, motion.kp2d, motion.kp2d_conf))
    is_own = track.skeleton.name == lifter.skeleton.name
    rest = load_light_body().rest_joints
    if lifter.skeleton.name != SMPL22.name:
        rest = convert_joints(rest, SMPL22, lifter.skeleton)
    return check_lift(
        joints3d,
        kp2d,
        conf,
        camera.rig,
        fps=motion.fps,
        skeleton=motion.skeleton,
        rest_joints=rest.double(),
        statures=frame_statures(track, camera, lifter.foot_heights if is_own else None),
    )


def write_person(
    args: argparse.Namespace, name: str, motion: LiftedMotion, output: LiftOutput, lifter: Pipeline,
    formats: Sequence[str],
) -> list[Path]:  # fmt: skip
    """All files of one person; the paths written."""
    caption = f"{args.keypoints.name}, person {motion.person}"
    about = {**lifter.about, "method": lifter.method, "seed": args.seed, "samples": args.samples,
             "keypoints": str(args.keypoints.resolve()), "camera": args.camera.name, "command": command_line(),
             **convention_facts(output.joint_convention)}  # fmt: skip
    written = [args.out / f"{name}{ending}" for ending in (".npz", ".html", "_plan.png")]
    npz, page, plan = written
    save_lift_npz(npz, motion, text=caption, metadata=about)
    entry = ViewerMotion(motion.joints_world, caption, views=_views(motion, output), convention=output.joint_convention)
    write_html(page, [entry], fps=motion.fps, skeleton=motion.skeleton, title=caption)
    write_plan_view(plan, [_path(motion, "")], _cameras(motion), fps=motion.fps, title=caption)
    written += write_overlays(args, name, motion, output)
    for form in formats:
        if form not in _OWN:
            paths = export_paths(args.out, name, form)
            EXPORTS[form](paths[0], motion.joints_world, motion.fps, motion.skeleton, caption, about)
            written += paths
    return written


def write_overlays(args: argparse.Namespace, name: str, motion: LiftedMotion, output: LiftOutput) -> list[Path]:
    """The overlays that are asked for; the paths written."""
    painter = OverlayPainter(_size(motion), motion.K4[0], motion.T_w2c[0])
    overlay, written = [_overlay(motion, output)], []
    if args.overlay != "none":
        written.append(args.out / f"{name}_overlay.png")
        write_overlay_sheet(written[-1], painter, overlay)
    if args.overlay == "video":
        written.append(args.out / f"{name}_overlay.mp4")
        pictures = None if args.video is None else video_pictures(args.video, int(motion.frame_ids[0]))
        write_overlay_video(written[-1], painter, overlay, fps=motion.fps, pictures=pictures)
    return written


def check_video(path: Path, camera: CameraFile) -> VideoFacts:
    """What a video says of itself; a warning where its pictures are unevenly apart.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it cannot be decoded, or is not of the shape of the camera's image.
    """
    facts = read_facts(path)
    (width, height), size = facts.size, camera.size
    if abs(width / height * size[1] / size[0] - 1) > SAME_ASPECT:
        raise ValueError(
            f"{path} has pictures of {width} x {height} pixels, but the camera's image is {size[0]} x {size[1]}. "
            "Keypoints, camera file and video have to be of the same pictures."
        )
    if facts.uneven:
        logger.warning("%s %s", path, facts.uneven)
    return facts


def _overlay(motion: LiftedMotion, output: LiftOutput) -> Overlay:
    joints2d = output.joints2d[0, 0, : len(motion.joints_world)].numpy()
    return Overlay(joints2d, motion.kp2d, motion.kp2d_conf, motion.skeleton, int(motion.frame_ids[0]))


def _views(motion: LiftedMotion, output: LiftOutput) -> ImageViews:
    """The rig for the page: all views where their pictures are of one size, else the real camera alone."""
    count = len(motion.size) if (motion.size == motion.size[0]).all() else 1
    K = np.tile(np.eye(3), (count, 1, 1))
    K[:, [0, 1], [0, 1]], K[:, :2, 2] = motion.K4[:count, :2], motion.K4[:count, 2:]
    joints2d = output.joints2d[0, :count, : len(motion.joints_world)].numpy()
    names = ["camera", *(f"virtual {view}" for view in range(1, count))]
    return ImageViews(joints2d, _size(motion), motion.T_w2c[:count], K, names)


def _size(motion: LiftedMotion) -> tuple[int, int]:
    return int(motion.size[0, 0]), int(motion.size[0, 1])


def _cameras(motion: LiftedMotion) -> list[PlanCamera]:
    sizes = [(float(w), float(h)) for w, h in motion.size]
    names = ["camera", *(f"virtual {view}" for view in range(1, len(sizes)))]
    return [
        PlanCamera(T, K4, size, name, is_real=name == "camera")
        for T, K4, size, name in zip(motion.T_w2c, motion.K4, sizes, names, strict=True)
    ]


def _path(motion: LiftedMotion, name: str) -> PlanPath:
    return PlanPath(motion.joints_world, motion.skeleton, motion.contacts, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when everything was written, 2 after one sentence about bad input, 3 for doubts if --strict."""
    setup_logging()
    args: Any = parser().parse_args(argv)

    def run() -> int:
        written, people = lift(args)
        logger.info("%d files in %s.", len(written), args.out)
        return DOUBTFUL if args.strict and any(person.verdict == "doubtful" for person in people) else 0

    return run_guarded(run, out=args.out)
