"""Options of all commands that read files of systems that recover people from video."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hmr4d.reference_motion.body_track import ReadOptions

logger = logging.getLogger(__name__)


def frame_range(word: str) -> tuple[int | None, int | None]:
    """First and last frame from FIRST:LAST; either may be omitted."""
    first, colon, last = word.partition(":")
    try:
        bounds = (int(first) if first else None, int(last) if last else None)
    except ValueError:
        bounds = (None, None)
    if not colon or bounds == (None, None) or any(b is not None and b < 0 for b in bounds):
        raise argparse.ArgumentTypeError(
            f"'{word}' is not a range of frames; expected FIRST:LAST, such as 30:120 or 30:"
        )
    return bounds


def picture_size(word: str) -> tuple[int, int]:
    """Width and height from WxH."""
    width, _, height = word.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"'{word}' is not an image size; expected WIDTHxHEIGHT, such as 1280x720")
    return int(width), int(height)


def add_read_options(known: argparse.ArgumentParser) -> None:
    """Options for reading a file."""
    group = known.add_argument_group("reading")
    group.add_argument("--fps-in", type=float, metavar="N", help="frames per second of the file (as stated in it)")
    group.add_argument("--person", metavar="NAME", help="person to select (the one with the most frames)")
    group.add_argument(
        "--space",
        choices=("auto", "world", "camera"),
        default="auto",
        help="motion in the world or in the frame of the camera (the world, if the file has it)",
    )
    group.add_argument("--up", choices=("y", "-y", "z"), help="axis of the file that points up (as its system has it)")
    group.add_argument("--frames", type=frame_range, metavar="FIRST:LAST", help="part of the video to take (all)")
    group.add_argument(
        "--max-gap",
        type=float,
        default=0.5,
        metavar="S",
        help="seconds without the person that are closed (0.5); longer ones are refused",
    )
    group.add_argument("--scale", type=float, default=1.0, metavar="M", help="meters per unit of the file (1)")
    group.add_argument("--focal", type=float, metavar="PX", help="focal length, if the file does not contain it")
    group.add_argument(
        "--size", type=picture_size, metavar="WxH", help="size of the video, if the file does not contain it"
    )
    group.add_argument("--video", type=Path, metavar="FILE", help="the video that the motion was recovered from")
    group.add_argument("--body-models", type=Path, metavar="DIR", help="your licensed bodies: their bones are taken")


def add_body_option(known: argparse.ArgumentParser, *, folder: bool = True) -> None:
    """Options of the drawn body; `folder`: with the folder of licensed files, where `add_read_options` adds none."""
    known.add_argument("--body", default="anny", help="anny (free), smplx (your file), stick")
    if folder:
        known.add_argument(
            "--body-models", type=Path, metavar="DIR", help="your licensed bodies (checkpoints/body_models of inputs)"
        )


def licensed_folder(name: str | None, folder: Path | None) -> dict[str, Path]:
    """The folder as an option of `load_body`, for bodies that need one; FileNotFoundError if the file is missing."""
    from hmr4d.body.smpl_files import FAMILIES, find_models

    if name not in FAMILIES:
        return {}
    find_models([(name, "neutral")], folder)
    return {} if folder is None else {"folder": folder}


def read_options(args: argparse.Namespace) -> ReadOptions:
    """The reading options; ValueError for impossible values, FileNotFoundError for a missing video."""
    from hmr4d.reference_motion.body_track import ReadOptions

    first, last = args.frames or (None, None)
    size, video_fps = args.size, None
    if args.video is not None:
        from hmr4d.detection.video_pictures import read_video_metadata

        video = read_video_metadata(args.video)
        size, video_fps = size or video.size, video.fps
    return ReadOptions(
        args.fps_in,
        args.person,
        args.space,
        args.up,
        args.max_gap,
        first,
        last,
        args.scale,
        args.focal,
        size,
        args.body_models,
        video_fps,
    )
