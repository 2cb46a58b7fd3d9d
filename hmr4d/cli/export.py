"""`tools/export.py`: motion files in, files for other programs out."""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hmr4d.cli.console import fail, setup_logging
from hmr4d.export.bone_names import known_bone_names
from hmr4d.export.bvh import UNITS
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.visualization.motion_files import EXPORTS, check_exports, export_paths

logger = logging.getLogger(__name__)

GENDERS = ("neutral", "female", "male")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="export.py",
        description="Writes motion files in formats that other programs read. Formats, axes and units: "
        "docs/exports.md.",
        epilog="Example: python tools/export.py outputs/first --to bvh --bones mixamo --out outputs/mixamo",
    )
    known.add_argument("motions", nargs="+", type=Path, metavar="MOTION", help=".npz motion files, or folders of them")
    known.add_argument("--to", default="bvh", metavar="LIST", help=f"formats: {', '.join(EXPORTS)} (bvh)")
    known.add_argument("--out", type=Path, metavar="DIR", help="folder (that of each motion)")
    known.add_argument("--bones", choices=known_bone_names(), help="names of the bones (smpl)")
    known.add_argument("--units", choices=list(UNITS), help="of lengths in BVH files (m)")
    known.add_argument(
        "--body-models", type=Path, metavar="DIR",
        help="your licensed SMPL+H models: pose parameters are then made for exactly that body (amass)",
    )  # fmt: skip
    known.add_argument("--gender", choices=GENDERS, help="of that body model (neutral)")
    return known


def gather_motions(places: Sequence[Path]) -> list[Path]:
    """Motion files from files and folders.

    Raises:
        FileNotFoundError: places that do not exist, all of them, or a folder without motion.
    """
    if missing := [str(p) for p in places if not p.exists()]:
        raise FileNotFoundError(f"No such file or folder: {', '.join(missing)}. Check the path.")
    files: list[Path] = []
    for place in places:
        found = [place]
        if place.is_dir():
            found = sorted(p for p in place.glob("[!.]*.npz") if not p.name.endswith(".amass.npz"))
        if not found:
            raise FileNotFoundError(f"No motion in {place}: it holds no .npz file. Generation writes one per motion.")
        files += found
    return list(dict.fromkeys(files))


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
            raise ValueError(f"--{word} changes nothing in {', '.join(formats)}; it is for {', '.join(users)}.")
    if "rest_joints" in given:
        given["rest_joints"] = model_rest_joints(args.body_models, args.gender or GENDERS[0])
    return {name: {o: v for o, v in given.items() if o in taken} for name, taken in takes.items()}


def model_rest_joints(folder: Path, gender: str) -> Tensor:
    """(22, 3) rest joints of the mean shape of a licensed SMPL+H model; FileNotFoundError says how to get it."""
    from hmr4d.body.skeleton import SMPL22
    from hmr4d.body.smplh_joints import find_smplh, how_to_get_smplh, load_smplh_joints

    path = find_smplh(folder, gender)
    if path is None:
        raise FileNotFoundError(f"No {gender} SMPL+H model in {folder}. {how_to_get_smplh(folder)}")
    return load_smplh_joints(path).template[: SMPL22.num_joints]


def export(args: argparse.Namespace) -> list[Path]:
    """Writes what `args` ask for; the paths written."""
    formats = check_exports(args.to)
    options = format_options(args, formats)
    jobs: dict[Path, tuple[Path, str, list[Path]]] = {}
    for source in gather_motions(args.motions):
        for name in formats:
            paths = export_paths(args.out or source.parent, source.stem, name)
            if paths[0] in jobs:
                raise ValueError(f"{jobs[paths[0]][0]} and {source} would both be {paths[0]}. Export them one by one.")
            if paths[0].resolve() == source.resolve():
                raise ValueError(f"{source} would be replaced by its own copy. Choose another folder with --out.")
            jobs[paths[0]] = source, name, paths
    written: list[Path] = []
    for source, name, paths in jobs.values():
        motion = load_motion_npz(source)
        what = (motion.joints3d, motion.fps, motion.skeleton, motion.text, motion.metadata)
        try:
            EXPORTS[name](paths[0], *what, **options[name])
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{paths[0]} cannot be written ({reason}). Choose a folder with --out.") from error
        written += paths
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when everything was written, 2 after one sentence about bad input."""
    setup_logging()
    args = parser().parse_args(argv)
    try:
        written = export(args)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return fail(error)
    for path in written:
        logger.info("%s", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
