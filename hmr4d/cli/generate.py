"""`hmr4d generate`: a sentence in, motion files out."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.methods.defaults import TEXT_MODEL
from hmr4d.utils.command_line import command_line
from hmr4d.utils.places import outputs_folder
from hmr4d.utils.prompts import check_prompts, check_seconds, gather_prompts

if TYPE_CHECKING:
    from hmr4d.methods.base import Pipeline
    from hmr4d.visualization.motion_files import MotionWriter

logger = logging.getLogger(__name__)

STRENGTH = 0.6  # default for a reference


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d generate",
        description="Turns sentences into 3D human motion: one set of files per prompt, and a contact sheet of all.",
        epilog='Example: hmr4d generate "a person bows politely" --seconds 4 --out outputs/bow',
    )
    known.add_argument("prompts", nargs="*", metavar="PROMPT", help="what the person does, in English")
    known.add_argument("--prompts-file", metavar="FILE", help="more prompts, one per line; # starts a comment")
    known.add_argument(
        "--seconds",
        type=durations,
        metavar="S",
        help="duration, or one per prompt: 3,5; the default model makes 1.5 to 9.8 (what suits the prompt)",
    )
    known.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same motion (0)")
    known.add_argument("--num-samples", type=int, default=1, metavar="K", help="motions per prompt, seeds N.. (1)")
    known.add_argument("--out", default=str(outputs_folder() / "generated"), metavar="DIR", help="folder (%(default)s)")
    known.add_argument(
        "--export",
        default="npz,mp4,html",
        metavar="LIST",
        help="formats: npz, mp4, mesh, webp, html, bvh, glb, csv, amass (npz,mp4,html); see docs/exports.md",
    )
    known.add_argument(
        "--model",
        default=TEXT_MODEL,
        help=f"name, folder of a release or a training run, or checkpoint ({TEXT_MODEL})",
    )
    known.add_argument("--list-actions", action="store_true", help="list the known actions of the model and exit")
    known.add_argument(
        "--edit", type=Path, metavar="FILE", help="a motion .npz of this model; --keep selects the part to keep"
    )
    known.add_argument(
        "--keep",
        nargs="+",
        type=seconds_range,
        default=[],
        metavar="A:B",
        help="seconds of --edit to keep, such as 0:1.5s; the rest is generated from the prompt",
    )
    known.add_argument("--reference", type=Path, metavar="FILE", help="a motion to start from, see --strength")
    known.add_argument(
        "--strength",
        type=float,
        metavar="S",
        help="how much of --reference changes: near 0 it is kept, at 1 only the prompt counts (0.6)",
    )
    known.add_argument("--steps", type=int, metavar="N", help="diffusion steps instead of the model's own")
    known.add_argument("--guidance", type=float, metavar="G", help="guidance scale instead of the model's own")
    known.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    return known


def durations(word: str) -> list[float]:
    """Numbers from a comma-separated word."""
    try:
        return [float(part) for part in word.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{word}' is not a duration; expected seconds such as 4 or 3,5") from None


def seconds_range(word: str) -> tuple[float, float]:
    """Two numbers of seconds from `A:B`, with or without a trailing s."""
    first, colon, last = word.partition(":")
    try:
        if not colon:
            raise ValueError(word)
        return float(first.removesuffix("s")), float(last.removesuffix("s"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{word}' is not a range; expected start and end seconds such as 0:1.5s"
        ) from None


def generate(args: argparse.Namespace) -> list[Path]:
    """Writes the requested motions; returns the paths."""
    from hmr4d.evaluation.quality_models import load_sampler
    from hmr4d.methods.known_actions import describe_prompts, warn_of_other_actions
    from hmr4d.utils.devices import pick_device
    from hmr4d.visualization.motion_files import MotionWriter, check_exports

    check_changes(args)
    prompts = check_prompts(gather_prompts(args.prompts, args.prompts_file))
    export = check_exports(args.export)
    device = pick_device(args.device)
    pipeline = load_sampler(args.model, device)
    seconds = None
    if args.seconds is not None:
        seconds = check_seconds(
            args.seconds[0] if len(args.seconds) == 1 else args.seconds,
            len(prompts),
            min_seconds=pipeline.min_seconds,
            max_seconds=pipeline.max_seconds,
        )
    logger.info("Model %s on %s: %d prompt(s).", args.model, device, len(prompts))
    writer = MotionWriter(
        args.out,
        export,
        num_prompts=len(prompts),
        num_samples=args.num_samples,
        about={"command": command_line()},
    )
    if args.edit is not None or args.reference is not None:
        return change(args, pipeline, prompts, writer)
    seconds, details = describe_prompts(pipeline, prompts, seconds)
    for jobs, output in pipeline.sample_batches(
        prompts,
        seconds=seconds,
        seed=args.seed,
        num_samples=args.num_samples,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
    ):
        writer.write(output, jobs, [{"seed": args.seed + sample} | details[prompt] for prompt, sample in jobs])
        warn_of_other_actions(output, [details[prompt] for prompt, _ in jobs])
    return writer.finish()


def change(args: argparse.Namespace, pipeline: Pipeline, prompts: Sequence[str], writer: MotionWriter) -> list[Path]:
    """Writes what becomes of the motion `args.edit` or `args.reference` by each prompt; the paths written."""
    from hmr4d.export.motion_npz import load_motion_npz
    from hmr4d.methods.known_actions import describe_prompts
    from hmr4d.reference_motion.motion_sources import gather_motions, read_plausible

    path = args.edit or args.reference
    if args.edit is not None:
        motion = load_motion_npz(path)
    else:
        gather_motions([path])  # raises an error for invalid motions
        motion = read_plausible(path)
    _, details = describe_prompts(pipeline, list(prompts), [motion.seconds] * len(prompts))
    for number, text in enumerate(prompts):
        given = args.seconds[number if len(args.seconds) > 1 else 0] if args.seconds else None
        for sample in range(args.num_samples):
            options: dict[str, Any] = {
                "seconds": given,
                "seed": args.seed + sample,
                "num_inference_steps": args.steps,
                "guidance_scale": args.guidance,
            }
            if args.edit is not None:
                output = pipeline.edit(motion, text, args.keep, **options)
                origin = {"edited": str(path)}
            else:
                output = pipeline.follow(motion, text, strength=args.strength, **options)
                origin = {"reference": str(path), "strength": args.strength}
            writer.write(output, [(number, sample)], [{"seed": args.seed + sample} | origin | details[number]])
    return writer.finish()


def check_changes(args: argparse.Namespace) -> None:
    """ValueError for inconsistent `--edit`, `--keep`, `--reference` and `--strength`; sets the default strength."""
    if args.edit is not None and args.reference is not None:
        raise ValueError("--edit and --reference were both given; choose one.")
    if (args.edit is None) != (not args.keep):
        raise ValueError(
            "--edit FILE and --keep A:B must be used together: a motion, and the seconds to keep, such as 0:1.5s."
        )
    if args.strength is not None and args.reference is None:
        raise ValueError("--strength is the change relative to a motion; pass that motion with --reference FILE.")
    if args.strength is None:
        args.strength = STRENGTH


def list_actions(model: str) -> str:
    """The known actions of a model as text; ValueError if the model lists none."""
    from hmr4d.methods.known_actions import action_list
    from hmr4d.nn.action_index import load_actions
    from hmr4d.utils.releases import find_release

    index = load_actions(find_release(model))
    if index is None:
        raise ValueError(
            f"Model '{model}' does not list its known actions; its card README.md names the training data."
        )
    return action_list(index)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when everything was written, 2 after one sentence about bad input."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        if args.list_actions:
            sys.stdout.write(list_actions(args.model))
            return 0
        logger.info("%d files in %s.", len(generate(args)), args.out)
        return 0

    return run_guarded(run, out=args.out)
