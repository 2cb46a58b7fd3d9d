"""Folders of motion files, read back in order: this project's, or those of the published layout."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from hmr4d.body.skeleton import Skeleton
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.motion.motion import Motion
from hmr4d.utils.weights import DAMAGED, load_inert, short_reason


class SavedMotions:
    """Motions from elsewhere, matched to the items of a test by their order.

    Files are taken in the order of their names: `.npz` motion files, or `.pth` files of the published layout
    {pred (L, 22, 3), text, length}, which say nothing about their rate.

    Args:
        folder: of the files.
        fps: of `.pth` files.
        skeleton: of `.pth` files.

    Raises:
        FileNotFoundError: there is no motion in the folder.
    """

    def __init__(self, folder: str | Path, *, fps: float, skeleton: Skeleton) -> None:
        self.folder, self.fps, self.skeleton = Path(folder), fps, skeleton
        self.files = sorted(p for p in self.folder.glob("[!.]*") if p.suffix in (".npz", ".pth"))
        if not self.files:
            raise FileNotFoundError(f"No motions in {folder}: it has neither .npz nor .pth files. Check the path.")

    def __len__(self) -> int:
        return len(self.files)

    @property
    def sha256(self) -> str:
        """Hash of the files, in order."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def load(self, number: int) -> Motion:
        """Motion by its number; ValueError if its file is damaged or has other content."""
        path = self.files[number]
        if path.suffix == ".npz":
            return load_motion_npz(path)
        try:
            content = load_inert(path)
            joints3d = np.asarray(torch.as_tensor(content["pred"]), np.float32)
            length = int(content.get("length", len(joints3d)))
            text = str(content.get("text", ""))
        except (AttributeError, *DAMAGED) as error:
            raise ValueError(
                f"{path} is no saved motion ({short_reason(error)}); expected a dict with pred (L, 22, 3), text and "
                "length."
            ) from error
        try:
            motion = Motion(torch.from_numpy(joints3d[:length]), self.fps, self.skeleton, text)
            motion.array()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return motion
