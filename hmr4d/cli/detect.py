"""`hmr4d detect`: the people of a video as a keypoint file."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.detection.keypoint_json import JOINT_SETS, is_of_video, write_keypoints
from hmr4d.detection.networks import DETECTOR, MODELS
from hmr4d.detection.people_in_video import detect_people, log_people

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d detect",
        description="Detects all people in a video and tracks their joints: docs/detect.md.",
        epilog="Example: hmr4d detect video.mp4 --out keypoints.json",
    )
    known.add_argument("video", type=Path, metavar="VIDEO", help="a video, or a folder of images")
    known.add_argument("--out", type=Path, metavar="JSON", help="file to write (VIDEO_keypoints.json)")
    known.add_argument("--joints", choices=list(JOINT_SETS), default=next(iter(JOINT_SETS)), help="of the file")
    known.add_argument("--fps", type=float, help="frames per second, if the file does not contain it")
    add_detector_options(known)
    return known


def add_detector_options(known: argparse.ArgumentParser) -> None:
    """Options of all commands that read a video."""
    known.add_argument(
        "--detector",
        choices=MODELS,
        default=MODELS[0],
        help=f"network for joints; {MODELS[1]} is more reliable and takes four times as long ({MODELS[0]})",
    )
    known.add_argument("--detector-weights", default=DETECTOR, metavar="NAME", help=argparse.SUPPRESS)
    known.add_argument("--no-smoothing", action="store_true", help="joints of each image without temporal smoothing")


def detect(args: argparse.Namespace) -> Path:
    """Writes the keypoint file; its path."""
    video = args.video.resolve() if args.video.is_dir() else args.video  # "." has no name
    out = args.out or video.with_name(f"{video.stem}_keypoints.json")
    _check_out(out)
    if args.out is None and out.exists() and not is_of_video(out, args.video):
        raise FileExistsError(
            f"{out} exists already and is not a result of {args.video}. Choose another name with --out."
        )
    detected = detect_people(
        args.video, model=args.detector, fps=args.fps, detector=args.detector_weights, smooth=not args.no_smoothing
    )
    log_people(detected)
    if not detected.tracks:
        raise ValueError(f"{args.video}: no person was detected in its {len(detected.times)} frames.")
    if detected.motion.remark:
        logger.warning("%s", detected.motion.remark)
    write_keypoints(out, detected, args.joints)
    return out


def _check_out(out: Path) -> None:
    """ValueError for an output path that cannot be a keypoint file; checked first, since detection takes minutes."""
    if out.is_dir():
        raise ValueError(f"--out is {out}, a folder. Name the file, such as {out / 'keypoints.json'}.")
    if out.suffix.lower() != ".json":
        raise ValueError(f"--out is {out}; keypoints are written as JSON. Name it {out.with_suffix('.json').name}.")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the file was written, 2 after one sentence about bad input."""
    setup_logging()
    args: Any = parser().parse_args(argv)

    def run() -> int:
        logger.info("%s", detect(args))
        return 0

    return run_guarded(run, kept="nothing was written")
