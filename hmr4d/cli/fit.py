"""`hmr4d fit` and the published `joints2smpl`: joints in, parameters of a body out."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from hmr4d.body.body_model import Body
from hmr4d.body.joint_noise import LEAST_NOISE
from hmr4d.body.loading import load_body
from hmr4d.body.shape_fitting import num_coefficients
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import load_smpl_body
from hmr4d.body.smpl_files import FAMILIES, GENDERS
from hmr4d.cli.console import fail_some, run_guarded, setup_logging
from hmr4d.export.fitted_npz import fitted_name, save_fitted_npz
from hmr4d.motion.fitting import BodyFit, fit_body
from hmr4d.motion.motion import Motion
from hmr4d.reference_motion.motion_sources import gather_motions, read_motion_source, warn_if_implausible
from hmr4d.utils.places import inputs_folder, outputs_folder

logger = logging.getLogger(__name__)

BODIES = ("anny", "stick", "anny_full", *FAMILIES)
HUMANML3D_FPS = 20.0
PUBLISHED_COUNT = 10


@dataclass(frozen=True)
class Clip:
    """One motion to fit and the path of its fit.

    Attributes:
        source: name in messages.
        motion: the motion to fit.
        folder, stem: of the file to write.
    """

    source: str
    motion: Motion
    folder: Path
    stem: str


Reader = Callable[[], Clip]


def parser() -> argparse.ArgumentParser:
    """The command line of `fit_smpl.py`."""
    known = argparse.ArgumentParser(
        prog="hmr4d fit",
        description="Fits a body to motion files: one shape per clip, a rotation for every joint and frame. Content "
        "of the files: docs/fitting.md.",
        epilog="Example: hmr4d fit outputs/first --body smplh --gender male --out outputs/fitted",
    )
    known.add_argument(
        "motions", nargs="+", type=Path, metavar="MOTION", help="motion files, folders of them, files of HMR systems"
    )
    _add_body_options(known, default="anny")
    known.add_argument("--out", type=Path, metavar="DIR", help="folder (that of each motion)")
    known.add_argument("--keep-shape", action="store_true", help="keep the shape of the body, fit only the pose")
    return known


def published_parser() -> argparse.ArgumentParser:
    """The command line of `joints2smpl.py`; all options have defaults."""
    known = argparse.ArgumentParser(
        prog="joints2smpl.py",
        description=f"Fits SMPL to the first {PUBLISHED_COUNT} motions of inputs/hml3d/joints3d.pth.",
    )
    _add_body_options(known, default="smpl")
    known.add_argument("--joints", type=Path, metavar="PTH", help="another joints3d.pth")
    known.add_argument("--count", type=int, default=PUBLISHED_COUNT, help=f"how many motions ({PUBLISHED_COUNT})")
    known.add_argument(
        "--out", type=Path, default=outputs_folder() / "joints2smpl", metavar="DIR", help="folder (%(default)s)"
    )
    known.set_defaults(keep_shape=False)
    return known


def _add_body_options(known: argparse.ArgumentParser, *, default: str) -> None:
    known.add_argument("--body", choices=BODIES, default=default, help=f"body to fit ({default})")
    known.add_argument("--gender", choices=GENDERS, help="of SMPL bodies (neutral)")
    known.add_argument("--num-betas", type=int, metavar="N", help="shape coefficients (SMPL+H: 16, others: 10)")
    known.add_argument(
        "--body-models", type=Path, metavar="DIR", help="your licensed models (inputs/checkpoints/body_models)"
    )


def load_asked_body(args: argparse.Namespace) -> Body:
    """The selected body; ValueError for options that it does not support."""
    given = {"--gender": args.gender, "--num-betas": args.num_betas, "--body-models": args.body_models}
    if args.body in FAMILIES:
        body = load_smpl_body(args.body, gender=args.gender or GENDERS[0], folder=args.body_models)
        num_coefficients(body, args.num_betas)
        return body
    if idle := [option for option, value in given.items() if value is not None]:
        raise ValueError(f"{', '.join(idle)} has no effect on body '{args.body}'; it is for {', '.join(FAMILIES)}.")
    return load_body(args.body)


def fit_clip(clip: Clip, body: Body, args: argparse.Namespace) -> Path:
    """Fits and writes one clip; the path written. ValueError names the motion that no body can be fitted to."""
    begun = time.perf_counter()
    try:
        fit = fit_body(clip.motion, body, keep_shape=args.keep_shape, num_betas=args.num_betas)
    except ValueError as error:
        raise ValueError(f"{clip.source}: {error}") from error
    seconds = time.perf_counter() - begun
    warn_if_implausible(clip.source, clip.motion)
    path = clip.folder / fitted_name(clip.stem, body.name)
    replaced = " (replaced)" if path.exists() else ""
    try:
        save_fitted_npz(path, fit, gender=args.gender or GENDERS[0])
    except NotADirectoryError:
        raise
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror or error}). Choose a folder with --out.") from error
    logger.info("%s%s: %s, %.1f ms per frame.", path, replaced, residual_words(fit), 1e3 * seconds / fit.num_frames)
    return path


def residual_words(fit: BodyFit) -> str:
    """The joint errors of a fit, as text."""
    worst = int(fit.joint_residual.argmax())
    smoothed = f", {1e3 * fit.noise:.1f} mm of noise removed" if fit.noise >= LEAST_NOISE else ""
    return (
        f"{fit.num_frames} frames{smoothed}, joint errors {1e3 * fit.mean_residual:.1f} mm on average and "
        f"{1e3 * fit.max_residual:.1f} mm at most; worst joint {SMPL22.joint_names[worst]} with "
        f"{1e3 * float(fit.joint_residual[worst]):.1f} mm"
    )


def motion_clips(args: argparse.Namespace) -> list[Reader]:
    """Readers of motion files and folders; ValueError when two of them would be one file."""
    clips: dict[str, Reader] = {}  # by path, case-insensitive like some file systems
    for source in gather_motions(args.motions):
        place = (args.out or source.parent) / source.stem
        if str(place).casefold() in clips:
            raise ValueError(
                f"Two motions are named {source.stem}: their fits would have the same file name. Fit them one by one."
            )
        clips[str(place).casefold()] = partial(_read_clip, source, place)
    return list(clips.values())


def _read_clip(source: Path, place: Path) -> Clip:
    return Clip(str(source), read_motion_source(source), place.parent, place.name)


def published_clips(args: argparse.Namespace) -> list[Reader]:
    """The first clips of joints3d.pth.

    Raises:
        FileNotFoundError: it does not exist. ValueError: it has other content, or `--count` is not positive.
    """
    from hmr4d.data.importers.humanml3d import joint_readers

    if args.count < 1:
        raise ValueError(f"--count is {args.count} but must be at least 1.")
    source = args.joints or inputs_folder() / "hml3d" / "joints3d.pth"
    if not source.is_file():
        raise FileNotFoundError(
            f"Joints not found: {source}. Build them with 'python tools/mas/export_HumanML3D.py', pass another file "
            "with --joints, or fit motion files with 'hmr4d fit'."
        )

    def read(name: str) -> Clip:
        motion = Motion(torch.from_numpy(readers[name]()).float(), HUMANML3D_FPS, SMPL22)
        return Clip(f"{source}, {name}", motion, args.out, name)

    readers = joint_readers(source)
    return [partial(read, name) for name in list(readers)[: args.count]]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fit_smpl.py`; 0 if all is written, 1 if motions were skipped, 2 for bad input."""
    return _run(parser().parse_args(argv), motion_clips)


def published_main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `joints2smpl.py`; exit codes as `main`."""
    return _run(published_parser().parse_args(argv), published_clips)


def _run(args: argparse.Namespace, find_clips: Callable[[argparse.Namespace], list[Reader]]) -> int:
    setup_logging()

    def run() -> int:
        errors: list[Exception] = []
        readers, body = find_clips(args), load_asked_body(args)
        for read in readers:
            try:
                fit_clip(read(), body, args)
            except ValueError as error:
                errors.append(error)
        return fail_some(errors, len(readers))

    return run_guarded(run, out=args.out, kept="finished files are kept next to their motions")
