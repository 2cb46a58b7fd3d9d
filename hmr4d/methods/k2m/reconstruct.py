"""Task `k2m/reconstruct`: scores the tokenizer on held-out clips and writes a table and a JSON file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from hmr4d.data.keypoint_clips import UNIT_FRAMES
from hmr4d.data.store import KeypointStore
from hmr4d.methods.k2m.checks import body_checks
from hmr4d.methods.k2m.keypoint_input import image_size
from hmr4d.methods.k2m.losses import Observed
from hmr4d.methods.k2m.pipeline import K2MPipeline
from hmr4d.methods.k2m.placement import DRIFT_WINDOW
from hmr4d.methods.k2m.stages import TokenizerStage
from hmr4d.methods.k2m.token_cache import trained_tokenizer
from hmr4d.utils.files import write_json
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)


def run_reconstruct(cfg: DictConfig) -> dict[str, float]:
    """Scores the tokenizer of a configuration of this task; writes `reconstruct.json` and logs the table.

    Raises:
        FileNotFoundError: the store or the weights are missing.
        ValueError: the store has no clip of the split.
    """
    from hydra.utils import instantiate

    pipeline = instantiate(cfg.pipeline, _convert_="all")
    if (weights := cfg.ckpt_path if cfg.ckpt_path is not None else cfg.shipped_weights) is None:
        raise ValueError("Task k2m/reconstruct needs a trained tokenizer: give ckpt_path=<its checkpoint>.")
    trained_tokenizer(weights if isinstance(weights, str) else list(weights), pipeline.network.motion_tokenizer)
    store = KeypointStore.open(cfg.store)
    clips = [int(clip) for clip in store.indices(cfg.split) if store.lengths[clip] >= UNIT_FRAMES]
    if not clips:
        raise ValueError(f"{store.path} has no clip in split '{cfg.split}'. Choose another with split=.")
    if cfg.limit is not None and cfg.limit < len(clips):
        clips = [clips[i] for i in np.linspace(0, len(clips) - 1, cfg.limit).astype(int)]
    scorer = None if cfg.fid_by is None else instantiate(cfg.scorer)  # first, because its files may be missing
    scores, keypoints = reconstruction_table(pipeline.eval(), store, clips)
    if scorer is not None:
        scores["evaluation"] = scorer(store, clips, keypoints)
    scores |= {"clips": len(clips), "split": cfg.split, "store": store.name, "weights": str(weights)}
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "reconstruct.json", scores)
    logger.info("Tokenizer on %d clips of %s, split %s:\n%s", len(clips), store.name, cfg.split, table_text(scores))
    return scores


@torch.no_grad()
def reconstruction_table(
    pipeline: K2MPipeline, store: KeypointStore, clips: list[int]
) -> tuple[dict[str, Any], list[Tensor]]:
    """Scores of the tokenizer on clips, and the reconstructed keypoints (L, 18, 3) of each clip with confidence 1.

    Scores are means over clips of `body_checks`, and perplexity and fraction of unused codes of each layer over all
    clips.
    """
    keypoints_of_clips: list[Tensor] = []
    stage = TokenizerStage(pipeline.network, pipeline.training_options)
    tokenizer = pipeline.network.motion_tokenizer
    sums: dict[str, float] = {}
    counts = torch.zeros(tokenizer.num_quantizers, tokenizer.num_codes)
    for clip in progress(clips, "reconstruct", unit="clip"):
        frames = torch.from_numpy(np.array(store.keypoints(clip)))
        keypoints = frames[: len(frames) // UNIT_FRAMES * UNIT_FRAMES].to(pipeline.device)
        tokens = tokenizer.tokenize(keypoints)
        size = image_size(keypoints[None])
        valid = torch.ones(1, len(keypoints), dtype=torch.bool, device=keypoints.device)
        observed = Observed(keypoints[None, :, :-1, :2], keypoints[None, :, :-1, 2], valid)
        drawn = stage.drawn(tokenizer.decode_tokens(tokens[None], size), size, observed, DRIFT_WINDOW)
        rows = torch.cat([drawn.pixels[0], torch.ones_like(drawn.pixels[0, ..., :1])], -1)
        keypoints_of_clips.append(torch.cat([rows, keypoints[:, -1:]], 1).cpu())
        checks = body_checks(drawn, observed, stage.limits, pipeline.training_options.losses.min_conf)
        for name, value in checks.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        for layer in range(tokenizer.num_quantizers):
            counts[layer] += torch.bincount(tokens[:, layer].cpu(), minlength=tokenizer.num_codes)
    scores: dict[str, Any] = {name: value / len(clips) for name, value in sums.items()}
    book = tokenizer.quantizer.codebooks()[0]
    scores["perplexity"] = [float(book.perplexity(row)) for row in counts]
    scores["unused"] = [float((row == 0).float().mean()) for row in counts]
    return scores, keypoints_of_clips


def table_text(scores: dict[str, Any]) -> str:
    """The scores as a text table."""
    rows = {
        "error of a keypoint": f"{scores['pixels']:.1f} px, {100 * scores['height_share']:.2f} % of the body's height",
        "limits violated": f"{100 * scores['limits']:.2f} % of the components",
        "upside down": f"{100 * scores['upside_down']:.2f} % of the frames",
        "facing the other way": f"{100 * scores['mirrored']:.2f} % of the frames with front or back view",
        "perplexity": ", ".join(f"{p:.0f}" for p in scores["perplexity"]),
        "unused codes": ", ".join(f"{100 * u:.0f} %" for u in scores["unused"]),
        "depth": f"{scores['depth']:.1f} m",
    }
    if (scored := scores.get("evaluation")) is not None:
        rows["reconstruction FID"] = f"{scored['fid']:.3f} by {scored['evaluator']} ({scored['features']})"
        for name in ("reconstructed", "real"):
            if name in scored:
                tops = [f"{scored[name][f'r_precision_top_{k}']['mean']:.3f}" for k in (1, 2, 3)]
                rows[f"R@1, 2, 3 {name}"] = f"{', '.join(tops)}, matching {scored[name]['matching_score']['mean']:.2f}"
    return "\n".join(f"  {name:22s} {value}" for name, value in rows.items())
