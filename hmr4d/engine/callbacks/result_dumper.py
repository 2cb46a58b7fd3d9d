"""Callback that writes generated motions as `.pth` files in the published layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hmr4d.motion.canonical import face_first_frame, repeat_last_valid
from hmr4d.utils.files import atomic_path

TEXT_PART = slice(11, 40)  # characters of the prompt in published file names


def dump_joints(joints3d: Tensor, lengths: Tensor) -> Tensor:
    """Motions (B, L, 22, 3) facing +z in frame 0, lowest joint at y = 0, padded with the last valid frame.

    As in the published code, the lowest joint is that of all L input frames, including those beyond `lengths`.
    """
    faced = face_first_frame(joints3d)
    lowest = faced[..., 1].amin((1, 2))
    filled = repeat_last_valid(faced, lengths)
    return torch.stack([filled[..., 0], filled[..., 1] - lowest[:, None, None], filled[..., 2]], -1)


def dump_name(rank: int, number: int, text: str) -> str:
    """Published file name; characters that are invalid in file names become underscores."""
    part = text[TEXT_PART]
    return f"{rank}_{number:05d}_" + "".join("_" if c in ' /\\:*?"<>|' else c for c in part) + ".pth"


class ResultDumper(pl.Callback):
    """Saves {pred (L, 22, 3), text, length} of every generated motion.

    Args:
        saved_dir: folder; created when the first motion is saved.
    """

    def __init__(self, saved_dir: str = "outputs/dumped_newtext_ours") -> None:
        self.saved_dir = Path(saved_dir)
        self.count = 0

    def _save(self, trainer: pl.Trainer, outputs: Any) -> None:
        if outputs is None:
            return
        joints3d = dump_joints(outputs.joints3d.cpu(), outputs.lengths.cpu())
        for row, text in enumerate(outputs.text):
            with atomic_path(self.saved_dir / dump_name(trainer.global_rank, self.count, text)) as path:
                torch.save({"pred": joints3d[row].clone(), "text": text, "length": outputs.lengths[row].clone()}, path)
            self.count += 1

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._save(trainer, outputs)
