"""`hmr4d export`: motion files in, files for other programs out."""

from __future__ import annotations

import argparse
import inspect
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hmr4d.body.smpl_files import GENDERS, find_models
from hmr4d.cli.console import fail_some, run_guarded, setup_logging
from hmr4d.export.bvh import UNITS
from hmr4d.motion.motion import Motion
from hmr4d.motion_files.bone_names import known_bone_names
from hmr4d.reference_motion.motion_sources import gather_motions, read_plausible
from hmr4d.visualization.motion_files import EXPORTS, check_exports, export_paths, write_motion_files

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d export",
        description="Writes motion files in formats that other programs read. Formats, axes and units: "
        "docs/exports.md.",
        epilog="Example: hmr4d export outputs/first --to bvh --bones mixamo --out outputs/mixamo",
    )
    known.add_argument(
        "motions", nargs="+", type=Path, metavar="MOTION", help="motion files, folders of them, files of HMR systems"
    )
    known.add_argument("--to", default="bvh", metavar="LIST", help=f"formats: {', '.join(EXPORTS)} (bvh)")
    known.add_argument("--out", type=Path, metavar="DIR", help="folder (that of each motion)")
    known.add_argument("--bones", choices=known_bone_names(), help="names of the bones (smpl)")
    known.add_argument("--units", choices=list(UNITS), help="of lengths in BVH files (m)")
    known.add_argument(
        "--body-models",
        type=Path,
        metavar="DIR",
        help="your licensed SMPL+H models: pose parameters are then made for exactly that body (amass)",
    )
    known.add_argument("--gender", choices=GENDERS, help="of that body model (neutral)")
    return known


def format_options(args: argparse.Namespace, formats: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options of each format; ValueError when one is given that no format takes."""
    given: dict[str, Any] = {"bones": args.bones, "units": args.units, "gender": args.gender}
    given["rest_joints"] = args.body_models
    given = {name: value for name, value in given.items() if value is not None}
    takes = {name: set(inspect.signature(EXPORTS[name]).parameters) for name in formats}
    for option in given:
        if not any(option in taken for taken in takes.values()):
            word = {"rest_joints": "body-models"}.get(option, option)
            users = [name for name in EXPORTS if option in inspect.signature(EXPORTS[name]).parameters]
            raise ValueError(f"--{word} has no effect on {', '.join(formats)}; it is for {', '.join(users)}.")
    if "rest_joints" in given:
        given["rest_joints"] = model_rest_joints(args.body_models, args.gender or GENDERS[0])
    return {name: {o: v for o, v in given.items() if o in taken} for name, taken in takes.items()}


def model_rest_joints(folder: Path, gender: str) -> Tensor:
    """(22, 3) rest joints of the mean shape of a licensed SMPL+H model; FileNotFoundError says how to get it."""
    from hmr4d.body.skeleton import SMPL22
    from hmr4d.body.smplh_joints import load_smplh_joints

    (path,) = find_models([("smplh", gender)], folder)
    return load_smplh_joints(path).template[: SMPL22.num_joints]


def export(args: argparse.Namespace) -> int:
    """Writes the requested files and logs their paths; returns the exit code, see `main`."""
    formats = check_exports(args.to)
    options = format_options(args, formats)
    places: dict[str, Path] = {}  # case-insensitive, like some file systems
    sources = gather_motions(args.motions)
    for source in sources:
        for name in formats:
            path = export_paths(args.out or source.parent, source.stem, name)[0]
            key = str(path).casefold()
            if key in places:
                raise ValueError(f"{places[key]} and {source} would both be written to {path}. Export them one by one.")
            if path.resolve() == source.resolve():
                raise ValueError(f"{source} would be overwritten by its own copy. Choose another folder with --out.")
            places[key] = source
    errors: list[Exception] = []
    for source in sources:
        try:
            motion = read_plausible(source)
            for name in formats:
                _export_one(motion, source, name, args.out or source.parent, options[name])
        except ValueError as error:
            errors.append(error)
    return fail_some(errors, len(sources))


def _export_one(motion: Motion, source: Path, name: str, folder: Path, options: dict[str, Any]) -> None:
    """Writes one motion in one format; ValueError names its file, OSError the path that cannot be written."""
    paths = export_paths(folder, source.stem, name)
    replaced = {path for path in paths if path.exists()}
    try:
        write_motion_files(motion, folder, source.stem, [name], options={name: options})
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{paths[0]} cannot be written ({reason}). Choose a folder with --out.") from error
    for path in paths:
        logger.info("%s%s", path, " (replaced)" if path in replaced else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 if everything was written, 1 if motions were skipped, 2 for bad options or no good motion."""
    setup_logging()
    args = parser().parse_args(argv)
    return run_guarded(lambda: export(args), out=args.out, kept="finished files are kept next to their motions")
