"""`hmr4d view`: saved motions in the browser."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.motion_files.source_frame import METERS_PER_UNIT, UP_AXES, checked_fps_option
from hmr4d.reference_motion.motion_sources import FOREIGN_ENDINGS, read_motion_source
from hmr4d.visualization.shown_motions import PUBLISHED_FPS, ShownMotion, find_motions, of_motion, read_motion

logger = logging.getLogger(__name__)

AT_ONCE = 4


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d view",
        description="Plays saved motions in the browser: side by side, with a timeline, as a body or as a skeleton. "
        "Needs no GPU; needs requirements_render.txt. More: docs/viewers.md.",
        epilog="Example: hmr4d view outputs/first --save-html first.html",
    )
    known.add_argument(
        "motions",
        nargs="+",
        type=Path,
        metavar="MOTION",
        help=".npz, .bvh or published .pth files, folders of them, files of HMR systems",
    )
    known.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"motions side by side ({AT_ONCE})")
    known.add_argument("--save-html", type=Path, metavar="FILE", help="write a recording instead of serving")
    known.add_argument("--skeleton", action="store_true", help="bones instead of bodies in that recording")
    known.add_argument("--port", type=int, metavar="N", help="port of the server (the first free one from 8080 on)")
    known.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines look (127.0.0.1)")
    known.add_argument("--fps", type=float, default=PUBLISHED_FPS, help=f"of .pth files ({PUBLISHED_FPS:g})")
    known.add_argument("--source-fps", type=float, metavar="N", help="frame rate of BVH files (as stated in them)")
    known.add_argument("--unit", choices=sorted(METERS_PER_UNIT), help="of BVH files (by the size of the body)")
    known.add_argument("--up", choices=UP_AXES, default=UP_AXES[0], help=f"up axis of BVH files ({UP_AXES[0]})")
    return known


def read_all(args: argparse.Namespace) -> list[ShownMotion]:
    """The motions of the options.

    Raises:
        FileNotFoundError, ValueError: the message names the invalid file.
    """
    if args.at_once < 1:
        raise ValueError(f"--at-once is {args.at_once} but must be at least 1.")
    if args.port is not None and not 0 < args.port < 1 << 16:
        raise ValueError(f"--port is {args.port} but ports are numbers from 1 to 65535.")
    if not 0 < args.fps < float("inf"):
        raise ValueError(f"--fps is {args.fps} but must be a positive number of frames per second.")
    if args.skeleton and args.save_html is None:
        raise ValueError("--skeleton is for --save-html; the live viewer has a switch for it.")
    bvh_fps = checked_fps_option(args.source_fps, "--source-fps")
    foreign = {path for path in args.motions if path.is_file() and path.suffix.lower() in FOREIGN_ENDINGS}
    shown: list[ShownMotion] = []
    for place in args.motions:
        if place in foreign:
            shown.append(of_motion(place.stem, read_motion_source(place)))
        else:
            paths = find_motions([place])
            shown += [read_motion(p, fps=args.fps, unit=args.unit, up=args.up, bvh_fps=bvh_fps) for p in paths]
    return shown


def view(args: argparse.Namespace) -> None:
    """Serves the motions until interrupted, or writes the recording."""
    from hmr4d.visualization.viser_viewer import Viewer, save_html, start_server, stop_server

    motions = read_all(args)
    if args.save_html is not None:
        if len(motions) > args.at_once:
            raise ValueError(
                f"There are {len(motions)} motions, more than the {args.at_once} of --at-once. Pass fewer, or increase "
                "--at-once."
            )
        try:
            save_html(args.save_html, motions, mesh=not args.skeleton)
        except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            reason = error.strerror or error
            raise OSError(f"{args.save_html} cannot be written ({reason}). Choose another place.") from error
        logger.info("%s", args.save_html)
        return
    server = start_server(args.host, args.port)
    try:
        viewer = Viewer(server, motions, at_once=args.at_once)
        logger.info("%d motion(s): http://%s:%d. Ctrl-C ends.", len(motions), args.host, server.get_port())
        viewer.run()
    except KeyboardInterrupt:
        logger.info("Ended.")
    finally:
        stop_server(server)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit status 0 on success, 2 for invalid input."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        view(args)
        return 0

    return run_guarded(run, kept="nothing was written")
