"""The training module of Motion-2-to-3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hmr4d.methods.motion2to3.weights import FREEZE_GROUPS, WEIGHTS
from hmr4d.nn.action_index import load_actions
from hmr4d.nn.text import pack_features
from hmr4d.nn.training import PipelineModule


class Motion2to3Module(PipelineModule):
    """Trains and runs a `Motion2to3Pipeline`; `freeze` names a group of FREEZE_GROUPS."""

    weights, freeze_groups = WEIGHTS, FREEZE_GROUPS

    def load_start(self, path: str | Path | Sequence[str | Path], ckpt_type: str = "pl", *, is_training: bool) -> None:
        super().load_start(path, ckpt_type, is_training=is_training)
        if not is_training and isinstance(path, (str, Path)) and Path(path).is_dir():
            self.pipeline.actions = load_actions(Path(path))  # of a released model

    def on_fit_start(self) -> None:
        dataset = self.trainer.datamodule.dataset("train")  # type: ignore[attr-defined]
        if dataset.text_cache is not None:
            cache = dataset.text_cache
            row = cache.null_caption
            self.pipeline.set_null_text(pack_features([cache.tokens(row)], cache.pooled(row)[None]))
        super().on_fit_start()
