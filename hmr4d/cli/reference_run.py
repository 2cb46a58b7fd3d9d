"""`hmr4d reference run`: from the file of an HMR system to a checked and gated reference motion in one go."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from hmr4d.cli import reference_check, reference_gate, reference_render
from hmr4d.cli.reference_files import (
    add_convert_options,
    add_improvements,
    converted,
    read_improved,
)
from hmr4d.cli.reference_options import add_body_option, add_read_options, licensed_folder, read_options

logger = logging.getLogger(__name__)

SOURCE = "source_file"  # key of the archive's entry
RESULTS = (".npz", "_276.pt", ".html", ".json", "_rendered.json", "_gated.json")  # suffixes of the results of a run
CLIPS = (".mp4", ".pt")  # and for a judge


def add_commands(commands: Any) -> None:
    """Adds this command to `hmr4d reference`."""
    known = commands.add_parser(
        "run",
        help="import, convert, check and gate one file",
        description="Writes, in one folder: the motion file, the reference motion, a page and videos for inspection, "
        "and an archive of one entry with its verdict and the reasons. More: docs/reference_motion.md.",
        epilog="Exit status: 0 decided, 1 the motion cannot be measured, 2 bad input, 3 undecided.",
    )
    known.add_argument("file", type=Path, metavar="FILE", help="of any known system, or a motion file")
    known.add_argument("--prompt", required=True, help="requested content of the motion")
    known.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for everything")
    add_body_option(known, folder=False)
    known.add_argument("--longest", type=int, default=1280, metavar="PX", help="longer side of the videos (1280)")
    add_read_options(known)
    add_improvements(known)
    add_convert_options(known, published=False)
    reference_gate.add_rule_options(known)
    reference_gate.add_judge_options(known)
    known.set_defaults(work=run)


def run(args: argparse.Namespace) -> int:
    """Does all steps; the exit status is that of the gate."""
    from hmr4d.reference_motion.archive_file import archive_root, portable
    from hmr4d.reference_motion.clip_file import save_clip
    from hmr4d.reference_motion.clip_summary import clip_words
    from hmr4d.reference_motion.placing import placed
    from hmr4d.reference_motion.reference_file import save_reference
    from hmr4d.utils.files import write_json
    from hmr4d.visualization.motion_files import write_motion_files

    stem = args.file.name if args.file.is_dir() else args.file.stem
    archive, rendered, gated = (args.out / f"{stem}{kind}.json" for kind in ("", "_rendered", "_gated"))
    check_place(args, stem, archive)
    models = licensed_folder(args.body, args.body_models).get("folder")
    drawn = ["--body", args.body, *([] if models is None else ["--body-models", str(models)])]
    clip = read_improved(args.file, read_options(args), args)
    logger.info("%s: %s", args.file, clip_words(clip))
    reference = converted(clip, args, args.prompt)
    motion_path = args.out / f"{stem}_276.pt"
    named = portable(motion_path, archive_root(archive))
    write_json(archive, [{"id": stem, "prompt": args.prompt, "motion_path": named, SOURCE: str(args.file.resolve())}])
    save_clip(args.out / f"{stem}.npz", placed(clip))
    save_reference(motion_path, reference)
    write_motion_files(reference.motion(extra_frame=True), args.out, stem, ["html"])
    start = clip.frames[0] / clip.motion.fps if clip.frames is not None and len(clip.frames) else 0.0
    words = [str(motion_path), "--out", str(args.out), *drawn, "--longest", str(args.longest)]
    if args.video is not None:
        words += ["--video", str(args.video), "--video-start", str(start)]
    if status := _step(reference_check, "check", words):
        return status
    if args.judge != "off":  # rules need no clip
        words = [str(archive), "--out", str(rendered), "--clips", str(args.out), *drawn]
        if status := _step(reference_render, "render", words):
            return status
        archive = rendered
    whole = argparse.Namespace(**{**vars(args), "archive": archive, "out": gated, "cache": None, "limit": None})
    status = reference_gate.gate(whole)
    _tell_verdict(gated)
    return status


def check_place(args: argparse.Namespace, stem: str, archive: Path) -> None:
    """Checks that a run replaces only results of the same file.

    Args:
        args: options of the command.
        stem: file stem of the results.
        archive: archive of an earlier run; it names the source file of its results.

    Raises:
        FileExistsError: another file would be overwritten.
    """
    endings = RESULTS if args.judge == "off" else RESULTS + CLIPS
    taken = [path for path in (args.out / f"{stem}{ending}" for ending in endings) if path.exists()]
    read = {path.resolve() for path in (args.file, args.video) if path is not None}
    if own := [path for path in taken if path.resolve() in read]:
        raise FileExistsError(f"{own[0]} is read, and would be replaced. Choose another folder with --out.")
    try:
        (entry,) = json.loads(archive.read_text("utf-8"))
        source = entry[SOURCE]
    except (OSError, ValueError, TypeError, KeyError):
        source = None
    if taken and source != str(args.file.resolve()):
        whose = f"the result of {source}" if source else "an existing file that is no result of this command"
        raise FileExistsError(f"{taken[0]} is {whose}. Choose another folder with --out.")


def _step(part: Any, name: str, words: list[str]) -> int:
    """Runs another command of `hmr4d reference` with these arguments; returns its exit status."""
    known = argparse.ArgumentParser()
    part.add_commands(known.add_subparsers())
    args = known.parse_args([name, *words])
    return args.work(args)


def _tell_verdict(gated: Path) -> None:
    """Logs the verdict of the gate and its reasons."""
    (entry,) = json.loads(gated.read_text("utf-8"))
    flag = entry.get("use_ref_motion")
    verdict = {True: "yes", False: "no"}.get(flag, "undecided")
    reasons = (entry.get("ref_motion_gate") or {}).get("reasons") or []
    logger.info("%s", " ".join([f"Use as reference: {verdict}.", *map(str, reasons)]))
