"""The tables of the K2M paper for a set of one's own, in its layout.

python benchmarks/k2m_tables.py losses --keypoint-store inputs/cmu_2d --steps 2000
python benchmarks/k2m_tables.py tokenizers --keypoint-store inputs/cmu_2d --keypoint-evaluator evaluator-keypoints
python benchmarks/k2m_tables.py models --weights k2m-everyday motion2to3-everyday --store inputs/everyday \
    --keypoint-store inputs/everyday_2d --keypoint-evaluator evaluator-keypoints

`losses` trains a tokenizer without each loss in turn, `tokenizers` one of each design; the trainings of a table have
the same data, steps and seed, go on where they were stopped, and are scored by k2m/reconstruct on the test split.
`models` scores releases on the same captions: in 3D by the same classifier and physical measures, and in 2D.
Tables are printed and written to OUT as Markdown and JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hmr4d.cli import quality
from hmr4d.engine.compose import compose_config
from hmr4d.engine.run import run
from hmr4d.evaluation.quality_report import cell, table
from hmr4d.methods.k2m.losses import LossWeights
from hmr4d.utils.files import write_json, write_text
from hmr4d.utils.places import outputs_folder

LOSS_NAMES = [name for name, _ in LossWeights().items() if name not in ("rvq", "rec")]
LOSSES = {"full": [], **{f"without {name}": [f"pipeline.training.weights.{name}=0"] for name in LOSS_NAMES}}
PUBLISHED_LOSSES = ("full", "without smooth", "without vel", "without boundary", "without pose", "without shape")
ONE_TOKEN = ["network.tokenizer.fuse=single_token", "network.tokenizer.adapter_depth=0"]
TOKENIZERS = {
    "one codebook (as T2M-GPT, MMM)": [*ONE_TOKEN, "network.tokenizer.num_quantizers=1"],
    "residual codebooks (as MoMask)": ONE_TOKEN,
    "adapter and residual codebooks (K2M)": [
        "network.tokenizer.fuse=flatten_linear",
        "network.tokenizer.adapter_depth=1",
    ],
}
MEASURES = (
    ("accuracy", "accuracy ↑", 3),
    ("content_mean_accuracy", "mean over contents ↑", 3),
    ("foot_skating", "skating m/s", 3),
    ("jitter", "jitter m/s³", 0),
    ("bone_length_variation", "bone variation %", 2),
    ("root_speed", "root speed m/s", 2),
    ("floor_clearance", "clearance mm", 0),
    ("upright", "upright ↑", 3),
)
MEASURES_2D = (
    ("fid", "2D FID ↓", 3),
    ("r_precision_top_1", "R@1 ↑", 3),
    ("r_precision_top_2", "R@2 ↑", 3),
    ("r_precision_top_3", "R@3 ↑", 3),
    ("matching_score", "MM-Dist ↓", 3),
    ("diversity", "Diversity", 3),
)


def trained(args: argparse.Namespace, name: str, words: Sequence[str]) -> dict[str, Any]:
    """`reconstruct.json` of a tokenizer that is trained with these overrides, unless it was before."""
    folder = args.out / "".join(c if c.isalnum() else "_" for c in name)
    alone = [f"network.{part}=null" for part in ("masked", "residual", "length")]
    common = [f"keypoint_store={args.keypoint_store}", f"seed={args.seed}", *alone, *args.set, *words]
    last = folder / "checkpoints" / "last.ckpt"
    resume = [f"resume_training={str(last.is_file()).lower()}"]
    steps = [f"trainer.max_steps={args.steps}"]
    run(compose_config([f"exp=k2m/tokenizer_{args.size}", *common, *steps, *resume, f"output_dir={folder}"]))
    scored = [f"exp=k2m/full_{args.size}", "global/task=k2m/reconstruct", *common, "ckpt_type=pl", f"ckpt_path={last}"]
    if args.keypoint_evaluator is not None:
        scored.append(f"fid_by={args.keypoint_evaluator}")
    if args.limit is not None:
        scored.append(f"limit={args.limit}")
    return run(compose_config([*scored, f"output_dir={folder / 'reconstruct'}"]))


def losses_table(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The loss ablation: mean error of a coordinate in pixels, and how much a loss that is left out adds to it.

    Losses that the recipe does not have are not in the table.
    """
    chosen = LOSSES if args.all else {name: LOSSES[name] for name in PUBLISHED_LOSSES}
    weights = compose_config([f"exp=k2m/tokenizer_{args.size}", *args.set]).pipeline.training.weights
    chosen = {name: words for name, words in chosen.items() if name == "full" or weights[name.removeprefix("without ")]}
    found = {name: trained(args, name, words) for name, words in chosen.items()}
    full = found["full"]["coordinate_pixels"]
    rows = []
    for name, one in found.items():
        more = "" if name == "full" else f"{one['coordinate_pixels'] - full:+.3f}"
        shares = [f"{100 * one[key]:.2f}" for key in ("height_share", "limits", "upside_down", "mirrored")]
        rows.append([name, f"{one['coordinate_pixels']:.3f}", more, *shares])
    headings = ["losses", "rec px ↓", "more", "% of the height ↓", "% limits ↓", "% upside down ↓", "% mirrored ↓"]
    return table(headings, rows), found


def tokenizers_table(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Designs of the tokenizer: FID and R-precision of reconstructions, beside real clips."""
    if args.keypoint_evaluator is None:
        raise ValueError("The table of tokenizers needs --keypoint-evaluator.")
    found = {name: trained(args, name, words) for name, words in TOKENIZERS.items()}
    real = next(iter(found.values()))["evaluation"].get("real")
    rows = [["real", "–", *_tops(real), "–", "–", "–"]]
    for name, one in found.items():
        scored = one["evaluation"]
        codes = f"{one['perplexity'][0]:.0f}", f"{100 * sum(one['unused']) / len(one['unused']):.0f}"
        rows.append([name, f"{scored['fid']:.3f}", *_tops(scored.get("reconstructed")), f"{one['pixels']:.2f}", *codes])
    headings = ["tokenizer", "FID ↓", "R@1 ↑", "R@2 ↑", "R@3 ↑", "pixels ↓", "perplexity, layer 1", "% dead codes"]
    return table(headings, rows), found


def _tops(scored: dict[str, Any] | None) -> list[str]:
    return ["–"] * 3 if scored is None else [f"{scored[f'r_precision_top_{k}']['mean']:.3f}" for k in (1, 2, 3)]


def models_table(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Releases on the same captions, in 3D and in 2D, beside real motion."""
    if (args.keypoint_store is None) != (args.keypoint_evaluator is None):
        raise ValueError("Scores in 2D need both --keypoint-store and --keypoint-evaluator.")
    found: dict[str, Any] = {}
    for weights in args.weights:
        out = args.out / Path(weights).name
        words = ["--weights", weights, "--store", str(args.store), "--prompts", "captions", "--seeds", str(args.seeds)]
        words += ["--out", str(out), "--no-novelty"]
        for name in ("classifier", "limit"):
            if (value := getattr(args, name)) is not None:
                words += [f"--{name}", str(value)]
        if args.keypoint_store is not None:
            words += ["--score-2d", str(args.keypoint_store), args.keypoint_evaluator, "--repeats", str(args.repeats)]
        if quality.main(words) != 0:
            raise ValueError(f"{weights} could not be scored.")
        found[Path(weights).name] = json.loads((out / "quality.json").read_text(encoding="utf-8"))
    first = next(iter(found.values()))
    rows = [_model_row("real", first["sets"]["captions"]["real"]["all"], _values_2d(first, "ground truth"))]
    for name, card in found.items():
        rows.append(_model_row(name, card["sets"]["captions"]["generated"]["all"], _values_2d(card, "generated")))
    headings = ["", *(heading for _, heading, _ in MEASURES)]
    headings += [heading for _, heading, _ in MEASURES_2D] if _values_2d(first, "generated") else []
    return table(headings, rows), found


def _values_2d(card: dict[str, Any], row: str) -> dict[str, Any]:
    return {} if card["scores_2d"] is None else card["scores_2d"]["rows"][row]


def _model_row(name: str, measures: dict[str, Any], scores_2d: dict[str, Any]) -> list[str]:
    cells = [cell(measures, key, digits) for key, _, digits in MEASURES]
    for key, _, digits in MEASURES_2D if scores_2d else ():
        value = scores_2d[key]
        interval = "" if value["interval"] is None else f" ± {value['interval']:.{digits}f}"
        cells.append("–" if value["mean"] is None else f"{value['mean']:.{digits}f}{interval}")
    return [name, *cells]


TABLES = {"losses": losses_table, "tokenizers": tokenizers_table, "models": models_table}


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = known.add_subparsers(dest="table", required=True)
    for name in TABLES:
        command = commands.add_parser(name)
        command.add_argument("--keypoint-store", type=Path, required=name != "models")
        command.add_argument("--keypoint-evaluator", help="name or folder of an evaluator of 2D keypoints")
        command.add_argument("--limit", type=int, help="clips that are scored, evenly spread")
        command.add_argument("--out", type=Path, default=outputs_folder() / "k2m_tables" / name)
        if name == "models":
            command.add_argument("--weights", nargs="+", required=True, help="released models: names or folders")
            command.add_argument("--store", type=Path, required=True, help="3D motion with the captions")
            command.add_argument("--classifier", type=Path, help="folder of the action-recognition classifier")
            command.add_argument("--seeds", type=int, default=3, help="repeats in 3D")
            command.add_argument("--repeats", type=int, default=20, help="repeats in 2D")
            continue
        command.add_argument("--size", default="small", choices=("tiny", "small", "base"))
        command.add_argument("--steps", type=int, default=2000, help="of each training")
        command.add_argument("--seed", type=int, default=42)
        command.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides")
        if name == "losses":
            command.add_argument("--all", action="store_true", help="also the losses that the paper does not have")
    return known


def main(argv: Sequence[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = parser().parse_args(argv)
    text, found = TABLES[args.table](args)
    args.out.mkdir(parents=True, exist_ok=True)
    write_text(args.out / "table.md", text + "\n")
    write_json(args.out / "table.json", found)
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
