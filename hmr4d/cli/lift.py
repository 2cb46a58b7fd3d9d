"""`hmr4d lift`: a video, or 2D keypoints, of one camera in, 3D motion in meters out."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from hmr4d.body.skeleton import SKELETONS
from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.cli.detect import add_detector_options
from hmr4d.keypoint_files.reading import FORMATS
from hmr4d.lifting.keypoint_inputs import USUAL_FPS
from hmr4d.lifting.lifter import MODEL, NO_GUESS
from hmr4d.lifting.people import lift_people
from hmr4d.lifting.request import LiftRequest, OverlayKind
from hmr4d.lifting.results import ALWAYS_WRITTEN
from hmr4d.methods.defaults import LIFTING_MODEL
from hmr4d.utils.places import outputs_folder
from hmr4d.visualization.motion_files import EXPORTS, check_exports

logger = logging.getLogger(__name__)

OVERLAYS = get_args(OverlayKind)
DOUBTFUL = 3  # exit status


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
        "--out", type=Path, default=outputs_folder() / "lifted", metavar="DIR", help="folder (%(default)s)"
    )
    known.add_argument(
        "--export", metavar="LIST", help=f"more formats: {', '.join(f for f in EXPORTS if f not in ALWAYS_WRITTEN)}"
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


def request_of(args: argparse.Namespace) -> LiftRequest:
    """The request of parsed options."""
    options = {field.name: getattr(args, field.name) for field in fields(LiftRequest) if field.name != "formats"}
    return LiftRequest(**options, formats=tuple(check_exports(args.export) if args.export else ()))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when everything was written, 2 after one sentence about bad input, 3 for doubts if --strict."""
    setup_logging()
    args: Any = parser().parse_args(argv)

    def run() -> int:
        results = lift_people(request_of(args))
        logger.info("%d files in %s.", len(results.written), args.out)
        return DOUBTFUL if args.strict and any(person.verdict == "doubtful" for person in results.people) else 0

    return run_guarded(run, out=args.out)
