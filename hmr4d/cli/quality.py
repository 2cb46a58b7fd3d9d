"""`hmr4d quality`: scores generated motion, and real motion with the same code.

hmr4d quality                                            # real motion only
hmr4d quality --weights NAME --store inputs/everyday --seeds 3
hmr4d quality --checkpoint outputs/DATA/EXPERIMENT/checkpoints/last.ckpt --store inputs/everyday
hmr4d quality --weights NAME --store inputs/everyday --prompts paraphrases cmu_paraphrases --seconds own 3 5 8
hmr4d quality --weights NAME --store inputs/everyday --prompts verbs
hmr4d quality --weights NAME --store inputs/everyday --score-2d inputs/everyday_2d evaluator-keypoints
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.evaluation.quality import REPEATS_2D, QualityRequest, score_quality
from hmr4d.evaluation.quality_report import markdown
from hmr4d.utils.places import inputs_folder, outputs_folder

logger = logging.getLogger(__name__)

OWN = "own"  # the duration of a prompt's clip, or the median of its content


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(
        prog="hmr4d quality",
        description="Scores generated motion and real motion: action recognition with a classifier trained on real "
        "joints, physical measures, and distance to the training clips. Without --weights and --checkpoint only "
        "real motion is scored.",
        epilog="An interrupted run continues where it stopped; motions are kept in OUT/cache. "
        "See docs/results_protocol.md.",
    )
    source = known.add_mutually_exclusive_group()
    source.add_argument("--weights", metavar="NAME", help="released model: name or folder")
    source.add_argument("--checkpoint", type=Path, metavar="FILE", help="checkpoint of a training run, finished or not")
    known.add_argument("--exp", help="experiment of the checkpoint; None: the config.yaml of its run")
    known.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides of --exp")
    known.add_argument(
        "--store",
        type=Path,
        default=inputs_folder() / "bandai_namco",
        help="prepared real motion: Bandai-Namco, CMU, or both joined",
    )
    known.add_argument("--split", default="test", help="clips to compare with (test)")
    known.add_argument(
        "--out",
        type=Path,
        default=outputs_folder() / "quality",
        help="folder of card, table and cache (%(default)s)",
    )
    known.add_argument(
        "--classifier",
        type=Path,
        help="folder of the classifier, trained if missing (below the outputs: content_classifier/NAME of the store)",
    )
    known.add_argument(
        "--prompts",
        nargs="+",
        metavar="SET",
        help="captions (of the split), paraphrases (held out, Bandai-Namco), cmu_paraphrases (held out, CMU), verbs "
        "(everyday prompts with geometric checks), or a YAML file: content -> list of prompts (captions, and the "
        "paraphrases of the data in the store)",
    )
    known.add_argument(
        "--seconds",
        nargs="+",
        type=duration,
        metavar="S",
        help="ask each prompt for these durations; own: that of its clip or median of its content (own; verbs: 3 5 8)",
    )
    known.add_argument("--seeds", type=int, default=3, metavar="N", help="repeats, with seeds 0 to N-1 (3)")
    known.add_argument("--steps", type=int, metavar="N", help="diffusion steps instead of the model's own")
    known.add_argument("--guidance", type=float, metavar="S", help="guidance scale instead of the model's own")
    known.add_argument("--limit", type=int, metavar="N", help="only N evenly spaced items of each set")
    known.add_argument(
        "--score-2d",
        nargs=2,
        metavar=("STORE", "EVALUATOR"),
        help="also score in 2D: folder of a 2D store, and name or folder of an evaluator of 2D keypoints",
    )
    known.add_argument("--repeats", type=int, metavar="N", help=f"passes of --score-2d ({REPEATS_2D})")
    known.add_argument("--no-novelty", action="store_true", help="skip the distances to training clips")
    known.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    return known


def duration(word: str) -> float | None:
    """Seconds from a command-line value; None for "own"."""
    return None if word == OWN else float(word)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 when the card was written, 2 after one sentence about bad input."""
    setup_logging()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)

    def work() -> int:
        request = QualityRequest(**{field.name: getattr(args, field.name) for field in fields(QualityRequest)})
        sys.stdout.write(markdown(score_quality(request, shlex.join(["hmr4d", "quality", *words]))))
        logger.info("Written: %s and quality.md in the same folder.", args.out / "quality.json")
        return 0

    return run_guarded(work)
