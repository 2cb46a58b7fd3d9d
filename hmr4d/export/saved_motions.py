"""Folders of motion files, read in order: files of this project or of the published layout."""

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
    """External motions, matched to the items of a test by their order.

    Files are taken in the order of their names: `.npz` motion files, or `.pth` files of the published layout
    {pred (L, 22, 3), text, length}, which contain no frame rate.

    Args:
        folder: folder of the files.
        fps: frame rate of `.pth` files.
        skeleton: skeleton of `.pth` files.

    Raises:
        FileNotFoundError: the folder has no motion files.
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
        """Hash of the content of all files, in order."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def load(self, number: int) -> Motion:
        """Reads the motion with index `number`. Raises ValueError if its file is damaged or has other content."""
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
                f"{path} is not a saved motion ({short_reason(error)}); expected a dict with pred (L, 22, 3), text and "
                "length."
            ) from error
        try:
            motion = Motion(torch.from_numpy(joints3d[:length]), self.fps, self.skeleton, text)
            motion.array()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return motion
