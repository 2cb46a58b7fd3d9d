"""Scores of reconstructed 2D keypoints against their clips by an evaluator of 2D keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.data.store import KeypointStore
from hmr4d.evaluation.keypoint_protocol import KeypointPreparation
from hmr4d.evaluators.evaluator import load_evaluator
from hmr4d.evaluators.feature_kinds import KEYPOINTS2D
from hmr4d.metrics.frechet import Gaussian, frechet_distance
from hmr4d.metrics.intervals import replicate_rows
from hmr4d.metrics.text_to_motion import POOL_SIZE, retrieval
from hmr4d.representation.keypoint_features import KeypointStatistics

REPEATS = 20  # random divisions into pools of the same reconstructions


class ReconstructionScores:
    """FID of reconstructions against their clips, and R-precision of both with the first caption of each clip.

    Args:
        evaluator: name or folder of an evaluator of 2D keypoints, see `load_evaluator`.
        seed: seed of the divisions into pools.

    Raises:
        FileNotFoundError: the evaluator does not exist.
        ValueError: the evaluator reads 3D motion.
    """

    def __init__(self, evaluator: str | Path, *, seed: int = 0) -> None:
        self.evaluator, self.seed = load_evaluator(evaluator), seed
        recipe, statistics = self.evaluator.recipe, self.evaluator.statistics
        if recipe.features is not KEYPOINTS2D or not isinstance(statistics, KeypointStatistics):
            raise ValueError(
                f"Evaluator '{recipe.name}' reads {recipe.features.store.about}; give an evaluator of 2D keypoints "
                "(trained by exp=evaluator/keypoints_matching)."
            )
        self.preparation = KeypointPreparation(statistics, max_rows=recipe.max_rows, unit=recipe.unit_length)

    def __call__(self, store: KeypointStore, clips: Sequence[int], reconstructed: Sequence[Tensor]) -> dict[str, Any]:
        """Scores for JSON: `fid`, R-precision and matching score of `reconstructed` and `real`, `notes`.

        Args:
            store: store of the clips.
            clips: indices of the clips; clips without a caption count in the FID alone.
            reconstructed: keypoints (L, 18, 3) of each clip; the last frames may be missing.
        """
        pairs = zip(clips, reconstructed, strict=True)
        real = [torch.from_numpy(np.array(store.keypoints(clip)[: len(made)])) for clip, made in pairs]
        made_rows, real_rows = (self._embedded(keypoints, store.fps) for keypoints in (reconstructed, real))
        distance = frechet_distance(Gaussian.fit(real_rows), Gaussian.fit(made_rows))
        scores: dict[str, Any] = {
            "fid": distance.value,
            "evaluator": self.evaluator.recipe.name,
            "evaluator_hash": self.evaluator.weights_hash,
            "features": self.evaluator.recipe.variant,
            "notes": [distance.note] if distance.note else [],
        }
        captions_of = [store.clip_captions(clip) for clip in clips]
        captioned = [(row, captions[0].caption) for row, captions in enumerate(captions_of) if captions]
        if len(captioned) < POOL_SIZE:
            scores["notes"].append(f"No R-precision: {len(captioned)} clips have captions, a pool needs {POOL_SIZE}.")
            return scores
        rows = torch.tensor([row for row, _ in captioned])
        self.evaluator.use_text_cache(store)
        captions = [caption for _, caption in captioned]
        text = self.evaluator.embed_texts(
            [store.caption_texts[c] for c in captions], [" ".join(store.caption_tokens[c]) for c in captions]
        ).cpu()
        for name, motion in (("reconstructed", made_rows[rows]), ("real", real_rows[rows])):
            scores[name] = self._retrieved(text, motion)
        return scores

    def _embedded(self, keypoints: Sequence[Tensor], fps: float) -> Tensor:
        """(N, E) embeddings of whole clips."""
        prepared = self.preparation.cut(self.preparation.encode(keypoints, fps), [None] * len(keypoints))
        return self.evaluator.embed_motions(*prepared).cpu()

    def _retrieved(self, text: Tensor, motion: Tensor) -> dict[str, Any]:
        """R-precision and matching score with their intervals over the divisions into pools."""
        repeats = []
        for number in range(REPEATS):
            order = torch.from_numpy(np.random.RandomState(self.seed + number).permutation(len(text)))
            repeats.append(retrieval(text[order], motion[order]).row())
        return {name: asdict(value) for name, value in replicate_rows(repeats).items()}
