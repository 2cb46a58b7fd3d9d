"""The part of `hmr4d quality` that compares generated motion with 2D keypoints."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hmr4d.data.clip_index import IndexRules
from hmr4d.data.importers.render2d import CameraDraws
from hmr4d.evaluation.generations import GenerationFolder
from hmr4d.evaluation.keypoint_protocol import DrawnCameras, KeypointProtocol
from hmr4d.evaluation.quality_models import Draw, Model
from hmr4d.evaluation.scoring import TextToMotionScorer
from hmr4d.evaluation.text_to_motion_data import Job, KeypointCuts, ScoredClips
from hmr4d.evaluators.evaluator import Evaluator, load_evaluator
from hmr4d.motion.motion import CAMERA
from hmr4d.utils.progress import progress

logger = logging.getLogger(__name__)

MOTIONS_PER_PART = 32
OWN_SIDE, ALL_AROUND = "the view of the model", "all directions"


@dataclass(frozen=True)
class Comparison2D:
    """Options of the 2D comparison.

    Attributes:
        store: folder of a 2D store.
        evaluator: name or folder of an evaluator of 2D keypoints.
        split: split of the store.
        repeats: number of passes, with seeds 0 to `repeats` - 1.
        limit: number of items per pass, evenly spaced; None: all.
    """

    store: Path
    evaluator: str
    split: str = "test"
    repeats: int = 20
    limit: int | None = None


def open_comparison(model: Model, comparison: Comparison2D) -> tuple[Evaluator, ScoredClips]:
    """The evaluator and the clips of a comparison, checked before any motion is generated.

    Raises:
        FileNotFoundError: the store or the evaluator is missing.
        ValueError: store, evaluator and protocol do not match, or there are too few clips.
    """
    evaluator = load_evaluator(comparison.evaluator)
    clips = _clips(model, evaluator, comparison)
    TextToMotionScorer(evaluator, KeypointProtocol(), clips)  # checks the combination
    return evaluator, clips


def score_in_2d(model: Model, evaluator: Evaluator, clips: ScoredClips, draw: Draw, cache: Path) -> dict[str, Any]:
    """Scores of real and generated motion, for the card of `hmr4d quality`; see `open_comparison`.

    Cameras are random, as in `prepare render-2d`. If the model reports a camera, its view direction is kept; otherwise
    the direction is random too. Motions are cached, so an interrupted run continues where it stopped.
    """
    identity = {"model": model.identity, "clips": clips.identity(), "steps": draw.steps, "guidance": draw.guidance}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]
    folder = GenerationFolder(cache / f"scores_2d_{key}")
    folder.begin(identity)
    missing = [job for job in clips.jobs if not folder.has(job)]
    parts = [missing[start : start + MOTIONS_PER_PART] for start in range(0, len(missing), MOTIONS_PER_PART)]
    for part in progress(parts, "motions for 2D scores", unit="part"):
        _make(model, clips, part, draw, folder)
    tells = CAMERA in folder.load(clips.jobs[0]).provenance.more
    cameras = replace(CameraDraws(), yaw=(0.0, 0.0)) if tells else CameraDraws()
    protocol = KeypointProtocol(DrawnCameras(cameras))
    scored = TextToMotionScorer(evaluator, protocol, clips).score(folder.load)
    return {
        "rows": {row: {name: asdict(value) for name, value in metrics.items()} for row, metrics in scored.rows.items()},
        "set": f"{clips.store.name}/{clips.split}",
        "set_size": scored.set_size,
        "repeats": clips.repeats,
        "protocol": protocol.name,
        "evaluator": evaluator.recipe.name,
        "features": evaluator.recipe.variant,
        "evaluator_sha256": evaluator.weights_hash,
        "seen_from": OWN_SIDE if tells else ALL_AROUND,
        "notes": list(scored.notes),
    }


def _clips(model: Model, evaluator: Evaluator, comparison: Comparison2D) -> ScoredClips:
    """The clips of the store with durations that both the evaluator and the model support."""
    recipe, sampler = evaluator.recipe, model.sampler
    rules = IndexRules(recipe.min_rows / recipe.fps, recipe.max_rows / recipe.fps, keep_long=True)
    cuts = KeypointCuts(max_rows=recipe.max_rows, unit=recipe.unit_length, max_seconds=sampler.max_seconds)
    return ScoredClips(
        str(comparison.store),
        comparison.split,
        cuts=cuts,
        rules=rules,
        min_seconds=sampler.min_seconds,
        repeats=comparison.repeats,
        limit=comparison.limit,
    )


def _make(model: Model, clips: ScoredClips, jobs: Sequence[Job], draw: Draw, folder: GenerationFolder) -> None:
    """Generates and saves the motions of some jobs."""
    asked = {job: clips.request(job) for job in jobs}
    output = model.sampler.sample(
        [one["text"] for one in asked.values()],
        seconds=[one["seconds"] for one in asked.values()],
        seed=[one["seed"] for one in asked.values()],
        num_inference_steps=draw.steps,
        guidance_scale=draw.guidance,
    )
    for job, motion in zip(asked, output, strict=True):
        folder.save(job, motion)
