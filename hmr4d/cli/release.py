"""`hmr4d release`: a training run becomes a released model."""

from __future__ import annotations

import argparse
import csv
import logging
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hmr4d.cli.console import run_guarded, setup_logging
from hmr4d.data.store import MotionStore
from hmr4d.engine.compose import check_targets, load_config
from hmr4d.engine.run import finished_steps
from hmr4d.evaluation.evaluator_release import release_evaluator
from hmr4d.methods.mocap2to3 import checkpoints as mocap2to3
from hmr4d.methods.mocap2to3.pipeline import Mocap2to3Pipeline
from hmr4d.methods.mocap2to3.release import save_release as save_lifting
from hmr4d.methods.motion2to3 import checkpoints as motion2to3
from hmr4d.methods.motion2to3.release import load_actions, save_release
from hmr4d.utils.files import file_hash, write_text
from hmr4d.utils.weights import WEIGHTS_NAME

logger = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    known = argparse.ArgumentParser(prog="hmr4d release", description="Packs a training run as a released model.")
    known.add_argument("--run", required=True, metavar="DIR", help="output folder of the run, with config.yaml")
    known.add_argument("--checkpoint", metavar="FILE", help="instead of the run's checkpoints/last.ckpt")
    known.add_argument("--out", required=True, metavar="DIR", help="such as inputs/checkpoints/hmr4d/<name>")
    known.add_argument(
        "--actions", metavar="DIR", help="folder of prepare.py text-adapter; the model lists its known actions"
    )
    known.add_argument("--hardware", default=platform.processor() or platform.machine(), help="for the card")
    known.add_argument("--command", nargs="+", default=[], metavar="CMD", help="the training command(s), for the card")
    return known


def last_losses(run: Path) -> dict[str, float]:
    """The last epoch means of every loss in the run's CSV log."""
    losses: dict[str, float] = {}
    for path in sorted((run / "csv").glob("metrics*.csv")):
        with path.open() as stream:
            for row in csv.DictReader(stream):
                losses |= {k: float(v) for k, v in row.items() if k.endswith("_epoch") and v}
    return losses


def plain(node: Any) -> dict[str, Any]:
    """A configuration node as plain keyword arguments."""
    return {k: v for k, v in OmegaConf.to_container(node, resolve=True).items() if k != "_target_"}  # type: ignore[union-attr]


def release(args: argparse.Namespace) -> Path:
    """Writes the release folder of a run."""
    run, out = Path(args.run), Path(args.out)
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"{run} holds no config.yaml; give the output folder of a training run.")
    cfg = load_config(run / "config.yaml")
    checkpoint = Path(args.checkpoint) if args.checkpoint else run / "checkpoints" / "last.ckpt"
    store = MotionStore.open(cfg.data.train.store)
    notice = (store.path / "NOTICE.md").read_text(encoding="utf-8")
    about = {
        "data": f"{store.name}, split {cfg.data.train.split}: {len(store.indices(cfg.data.train.split))} clips",
        "source": store.info["source"],
        "licence": store.info["licence"],
        "commands": args.command,
        "hardware": args.hardware,
        "torch": torch.__version__,
        "losses": last_losses(run),
    }
    if "evaluator" in cfg:
        release_evaluator(checkpoint, out, about, notice)
    else:
        release_method(cfg, checkpoint, out, about, notice, args.actions)
    write_text(out / "training_config.yaml", OmegaConf.to_yaml(cfg))
    return out


def release_method(
    cfg: DictConfig, checkpoint: Path, out: Path, about: dict[str, Any], notice: str, actions: str | None = None
) -> None:
    """Writes weights, configuration, a card and, for text to motion, the known actions of a trained method."""
    check_targets(cfg.pipeline)
    pipeline = instantiate(cfg.pipeline, _convert_="all")
    is_lifting = isinstance(pipeline, Mocap2to3Pipeline)
    (mocap2to3 if is_lifting else motion2to3).load_weights(pipeline, checkpoint)
    parameters = sum(p.numel() for p in pipeline.denoiser.parameters())
    method = "Mocap-2-to-3" if is_lifting else "Motion-2-to-3"
    about = {"method": method, **about, "steps": finished_steps(checkpoint), "parameters": parameters}
    if is_lifting:
        save_lifting(out, pipeline, network=plain(cfg.pipeline.denoiser), about=about)
    else:
        if actions is not None:
            pipeline.actions = load_actions(Path(actions))
            if pipeline.actions is None:
                raise FileNotFoundError(f"{actions} lists no known actions; give a folder of prepare.py text-adapter.")
        text = {"name": cfg.text.name, "folder": cfg.text.folder, "dim": cfg.text.dim}
        save_release(out, pipeline, network=plain(cfg.network), text_encoder=text, about=about)
    write_text(out / "README.md", card(out, about, notice))


def card(folder: Path, about: dict[str, Any], notice: str) -> str:
    """The model card in Markdown."""
    digest = file_hash(folder / WEIGHTS_NAME)
    losses = ", ".join(f"{k.removeprefix('train/').removesuffix('_epoch')} {v:.4f}" for k, v in about["losses"].items())
    commands = "\n".join(about["commands"]) or "see training_config.yaml"
    return f"""# {folder.name}

| | |
|---|---|
| method | {about["method"]}, {about["parameters"]:,} parameters, float16 |
| data | {about["data"]} |
| licence | {about["licence"]}: non-commercial use, with credit; see below |
| steps | {about["steps"]} |
| last training losses | {losses} |
| hardware | {about["hardware"]}, torch {about["torch"]} |
| weights sha256 | `{digest}` |

Trained by

```bash
{commands}
```

How good it is, measured on the test split beside real motion: `docs/results.md`.

## Data notice

{notice.strip()}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    setup_logging()
    args = parser().parse_args(argv)

    def run() -> int:
        logger.info("Released: %s.", release(args))
        return 0

    return run_guarded(run, out=args.out)
