"""Callback that fits a body to every generated motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from hmr4d.body.loading import load_body
from hmr4d.export.fitted_npz import fitted_name, save_fitted_npz
from hmr4d.motion.fitting import fit_body
from hmr4d.utils.command_line import command_line
from hmr4d.visualization.motion_files import slug


class BodyFitter(pl.Callback):
    """Saves the parameters of a body for every generated motion; see `save_fitted_npz`.

    Args:
        saved_dir: folder; created when the first fit is saved.
        body: "anny", "smplh", ...; see `load_body`.
        options: options of `load_body`, such as the gender of an SMPL body.
    """

    def __init__(
        self, saved_dir: str = "outputs/fitted", body: str = "anny", options: dict[str, Any] | None = None
    ) -> None:
        self.saved_dir, self.options = Path(saved_dir), dict(options or {})
        self.body = load_body(body, **self.options)
        self.count = 0

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if outputs is None or outputs.joints3d is None:
            return
        for motion, seed in zip(outputs, batch["seed"].tolist(), strict=True):
            provenance = motion.provenance.updated(command=command_line(), seed=seed)
            fit = fit_body(replace(motion, provenance=provenance), self.body)
            stem = f"{trainer.global_rank}_{self.count:05d}_{slug(motion.text)}"
            path = self.saved_dir / fitted_name(stem, self.body.name)
            save_fitted_npz(path, fit, gender=self.options.get("gender", "neutral"))
            self.count += 1
