"""`hmr4d reference check`: videos for the visual check of a reference motion."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from hmr4d.cli.console import fail_some
from hmr4d.cli.reference_options import add_body_option, licensed_folder, picture_size

logger = logging.getLogger(__name__)

KINDS, STYLES = ("depth", "overlay", "turntable"), ("depth", "shaded")


def add_commands(commands: Any) -> None:
    """Adds this command to `hmr4d reference`."""
    known = commands.add_parser(
        "check",
        help="depth, overlay and turntable of reference motions",
        description="Writes videos of reference motions: depth in their camera, an overlay on the original "
        "video, and the figure from all sides. More: docs/reference_gate.md.",
        epilog="Example: hmr4d reference check walk.pt --video walk.mp4 --out outputs/check",
    )
    known.add_argument("motions", nargs="+", type=Path, metavar="MOTION", help="reference motions, 276 or 426 wide")
    known.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the videos")
    known.add_argument("--video", type=Path, metavar="FILE", help="the original video, for an overlay")
    known.add_argument("--video-start", type=float, default=0.0, metavar="S", help="second at which the motion starts")
    known.add_argument("--only", nargs="+", choices=KINDS, help="kinds of videos (overlay or depth, and turntable)")
    known.add_argument("--style", choices=STYLES, default=STYLES[0], help="of the overlay (depth)")
    known.add_argument("--recover-from-velocity", "-rfv", action="store_true", help="sum up velocities")
    known.add_argument(
        "--size",
        type=picture_size,
        default=(1920, 1080),
        metavar="WxH",
        help="if neither motion nor video contains it (1920x1080)",
    )
    known.add_argument("--longest", type=int, metavar="PX", help="maximum longer side (that of the camera)")
    known.add_argument("--fps-in", type=float, metavar="N", help="frame rate of motions without one (20)")
    add_body_option(known)
    known.set_defaults(work=check)


def check(args: argparse.Namespace) -> int:
    """Writes the videos; 1 if some motions could not be used."""
    from hmr4d.body.loading import load_body
    from hmr4d.reference_motion.checker import CheckOptions, write_checks
    from hmr4d.reference_motion.reference_file import load_reference

    if args.video is not None and len(args.motions) > 1:
        raise ValueError(f"--video is of one motion, but there are {len(args.motions)}.")
    options = CheckOptions(
        args.only,
        args.video,
        args.video_start,
        args.recover_from_velocity,
        args.size,
        args.longest,
        args.style,
        load_body(args.body, **licensed_folder(args.body, args.body_models)),
    )
    errors: list[Exception] = []
    for path in args.motions:
        try:
            reference = load_reference(path, fps=args.fps_in)
            for file in write_checks(reference, args.out, path.name.partition(".")[0] or path.stem, options):
                logger.info("%s", file)
        except (OSError, ValueError) as error:
            errors.append(error)
    return fail_some(errors, len(args.motions))
