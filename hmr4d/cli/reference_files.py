"""`hmr4d reference import`, `convert`, `inspect` and `export`: single steps of the conversion of files of other
systems."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmr4d.cli.console import fail_some
from hmr4d.cli.reference_options import add_read_options, read_options
from hmr4d.utils.command_line import command_line

if TYPE_CHECKING:
    from hmr4d.reference_motion.body_track import ReadOptions
    from hmr4d.reference_motion.clip import ReferenceClip
    from hmr4d.reference_motion.reference_file import ReferenceMotion

logger = logging.getLogger(__name__)

FPS_OUT = 20.0
CLIP = ".npz"
SHORT, LONG = 40, 200  # range of training lengths of published generators, in rows
REFERENCE_FORMATS = ("hml263", "joints")  # additional formats of `export`
Commands = Any  # argparse has no public type for subcommands


def add_commands(commands: Commands) -> None:
    """Adds these commands to `hmr4d reference`."""
    known = commands.add_parser("import", help="files of HMR systems to motion files with their camera")
    _add_inputs(known, "file of any known system", out=True)
    add_read_options(known)
    add_improvements(known)
    known.add_argument("--as-is", action="store_true", help="keep the position of the motion")
    known.set_defaults(work=import_files)

    known = commands.add_parser("convert", help="files of HMR systems, or motion files, to 276-dim reference motions")
    _add_inputs(known, "file of any known system, or a motion file", out=True)
    add_read_options(known)
    add_improvements(known)
    add_convert_options(known)
    known.set_defaults(work=convert_files)

    known = commands.add_parser("inspect", help="print the content of a file")
    _add_inputs(known, "file of any known system, motion file or reference motion", out=False)
    add_read_options(known)
    known.add_argument("--json", action="store_true", help="one JSON object a file")
    known.set_defaults(work=inspect_files)

    known = commands.add_parser("export", help="reference motions to BVH, GLB, AMASS, HumanML3D 263, pages, ...")
    _add_inputs(known, "reference motion, or file of any known system", out=True)
    add_read_options(known)
    known.add_argument(
        "--to",
        default="bvh",
        metavar="LIST",
        help=f"formats of 'hmr4d export', and {', '.join(REFERENCE_FORMATS)} (bvh)",
    )
    known.set_defaults(work=export_files)


def _add_inputs(known: argparse.ArgumentParser, what: str, *, out: bool) -> None:
    known.add_argument("files", nargs="+", type=Path, metavar="FILE", help=what)
    if out:
        known.add_argument(
            "--out", type=Path, metavar="PLACE", help="folder, or file for one input (default: next to each input)"
        )


def add_improvements(known: argparse.ArgumentParser) -> None:
    """Options for processing a clip after reading."""
    group = known.add_argument_group("optional improvements")
    group.add_argument("--level", action="store_true", help="turn a tilted camera level, by torso and standing feet")
    group.add_argument("--smooth", action="store_true", help="take noise out; claps and kicks stay")
    group.add_argument(
        "--lock-feet",
        action="store_true",
        help="standing feet neither slide nor sink, and jumps land at the height of their start",
    )


def add_convert_options(known: argparse.ArgumentParser, *, published: bool = True) -> None:
    """Options of the conversion; `published`: with the one that makes it as the published converter does."""
    group = known.add_argument_group("converting")
    group.add_argument("--fps-out", type=float, default=FPS_OUT, metavar="N", help=f"of the features ({FPS_OUT:g})")
    group.add_argument(
        "--floor",
        choices=("lowest", "stances", "none"),
        default="lowest",
        help="move the lowest joint, or the standing feet, to the floor (lowest)",
    )
    if published:
        group.add_argument("--text", default="", help="description of the motion")
        group.add_argument(
            "--published",
            action="store_true",
            help="number by number as the published converter, at the rate of the file",
        )


def read_improved(path: Path, options: ReadOptions, args: argparse.Namespace) -> ReferenceClip:
    """The clip of a file after the selected improvements; logs its warnings."""
    from hmr4d.reference_motion.adapters import read_clip
    from hmr4d.reference_motion.motion_sources import log_remarks
    from hmr4d.reference_motion.placing import leveled

    clip = read_clip(path, options)
    if args.level:
        clip = leveled(clip)
    if args.smooth or args.lock_feet:
        from hmr4d.reference_motion.improve import smoothed, with_locked_feet  # SciPy's filters take a while to load

        clip = smoothed(clip) if args.smooth else clip
        clip = with_locked_feet(clip) if args.lock_feet else clip
    log_remarks(path, clip)
    return clip


def converted(clip: ReferenceClip, args: argparse.Namespace, text: str, *, published: bool = False) -> ReferenceMotion:
    """The reference motion that the options ask for; warns of lengths that generators were not trained on."""
    from hmr4d.reference_motion.convert import convert, convert_published
    from hmr4d.reference_motion.rest_joints import family_rest_joints

    rest = None if args.body_models is None else family_rest_joints("smplx", args.body_models)
    reference = (
        convert_published(clip) if published else convert(clip, fps=args.fps_out, rest_joints=rest, floor=args.floor)
    )
    rows = len(reference.features)
    if not SHORT <= rows <= LONG and reference.fps == FPS_OUT:
        logger.warning(
            "%d rows, %.1f s: generators are trained on %d to %d rows, and published loaders leave others out.",
            rows,
            rows / reference.fps,
            SHORT,
            LONG,
        )
    provenance = reference.provenance.updated(command=command_line())
    return replace(reference, text=text or reference.text, provenance=provenance)


def import_files(args: argparse.Namespace) -> int:
    """Writes motion files with their cameras."""
    from hmr4d.reference_motion.clip_file import save_clip
    from hmr4d.reference_motion.clip_summary import clip_words
    from hmr4d.reference_motion.placing import placed

    options = read_options(args)

    def one(path: Path, place: Path) -> None:
        clip = read_improved(path, options, args)
        save_clip(place, clip if args.as_is else placed(clip))
        logger.info("%s: %s", place, clip_words(clip))

    return _each(args.files, args.out, CLIP, one)


def convert_files(args: argparse.Namespace) -> int:
    """Writes reference motions."""
    from hmr4d.reference_motion.reference_file import save_reference

    options = read_options(args)

    def one(path: Path, place: Path) -> None:
        reference = converted(read_improved(path, options, args), args, args.text, published=args.published)
        save_reference(place, reference)
        logger.info("%s: %d rows at %g frames per second", place, len(reference.features), reference.fps)

    return _each(args.files, args.out, "_276.pt", one)


def inspect_files(args: argparse.Namespace) -> int:
    """Prints the content of files to standard output."""
    from hmr4d.reference_motion.clip_summary import clip_metadata

    options = read_options(args)

    def one(path: Path, _: Path) -> None:
        metadata = {"file": str(path), **clip_metadata(path, options)}
        if args.json:
            sys.stdout.write(json.dumps(metadata, ensure_ascii=False) + "\n")
            return
        width = max(map(len, metadata))
        for name, value in metadata.items():
            for number, words in enumerate(value if isinstance(value, list) else [value]):
                sys.stdout.write(f"{'' if number else name:<{width}}  {words}\n")

    return _each(args.files, None, "", one)


def export_files(args: argparse.Namespace) -> int:
    """Writes motions in the formats of other programs."""
    from hmr4d.reference_motion.adapters import read_clip
    from hmr4d.reference_motion.clip_summary import write_arrays
    from hmr4d.reference_motion.motion_sources import log_remarks
    from hmr4d.reference_motion.placing import placed
    from hmr4d.visualization.motion_files import check_exports, export_paths, write_motion_files

    options = read_options(args)
    names = [name.strip().lower() for name in args.to.split(",") if name.strip()]
    own = [name for name in names if name in REFERENCE_FORMATS]
    shared = [name for name in names if name not in REFERENCE_FORMATS]
    shared = check_exports(shared) if shared or not own else []

    def one(path: Path, place: Path) -> None:
        if any(export_paths(place.parent, place.name, name)[0].resolve() == path.resolve() for name in shared):
            raise ValueError(f"{path} would be overwritten by its own copy. Choose another folder with --out.")
        clip = read_clip(path, options)
        log_remarks(path, clip)
        motion = placed(clip).motion
        written = write_motion_files(motion, place.parent, place.name, shared)
        written += [write_arrays(motion, place.parent / f"{place.name}_{name}.npy", name) for name in own]
        for file in written:
            logger.info("%s", file)

    return _each(args.files, args.out, "", one)


def _each(files: Sequence[Path], out: Path | None, ending: str, work: Any) -> int:
    """Calls work(file, output path) for each file; returns the exit status and reports skipped files."""
    from hmr4d.reference_motion.clip_file import is_clip_file

    errors: list[Exception] = []
    places: dict[str, tuple[Path, Path]] = {}  # case-insensitive, like some file systems
    for path in files:
        place = _place(path, out, ending, alone=len(files) == 1)
        if ending and place.resolve() == path.resolve():
            raise ValueError(f"{path} would be overwritten by its own copy. Choose another path with --out.")
        if ending == CLIP and out is None and place.exists() and not is_clip_file(place):
            raise FileExistsError(
                f"{place} exists already and is not a result of {path}. Choose another path with --out."
            )
        if (key := str(place).casefold()) in places:
            raise ValueError(f"{places[key][0]} and {path} would both be written to {place}. Process them one by one.")
        places[key] = (path, place)
    for path, place in places.values():
        try:
            work(path, place)
        except (ValueError, FileNotFoundError) as error:
            errors.append(error if str(path) in str(error) else type(error)(f"{path}: {error}"))
    return fail_some(errors, len(files))


def _place(path: Path, out: Path | None, ending: str, *, alone: bool) -> Path:
    """Output path for a file: `out` itself if it has a suffix, else a file in it or next to the input."""
    if out is not None and alone and ending and out.suffix == Path(f"x{ending}").suffix:
        return out
    stem = path.name if path.is_dir() else path.stem
    return (path.parent if out is None else out) / f"{stem}{ending}"
