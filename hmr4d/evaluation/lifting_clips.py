"""Sources of the evaluation clips of lifting: a motion store with random rigs, RICH, AIST++."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from hmr4d.data.lifting.views import LiftingViews
from hmr4d.evaluation.captures.aistpp import AistppCaptures
from hmr4d.evaluation.captures.rich import RichCaptures
from hmr4d.evaluation.captures.rich_bodies import SmplxJoints
from hmr4d.evaluation.captures.rich_bundle import RichBundle
from hmr4d.evaluation.captures.views import MIN_DEPTH, CaptureViews, LiftingClip
from hmr4d.geometry.rigs import Rig, project
from hmr4d.utils.text_files import read_text


class StoreClips:
    """Clips of a motion store with random rigs; clip i always gets the same rig.

    Args:
        views: random views of the store; an item depends on its seed alone.
    """

    def __init__(self, views: LiftingViews) -> None:
        self.views = views
        split = {views.store.splits[int(i)] for i in views.clips}
        self.name = f"{views.store.name}/{'+'.join(sorted(split))}"

    @property
    def names(self) -> list[str]:
        return [f"{self.views.store.names[int(i)]}/drawn" for i in self.views.clips]

    def __getitem__(self, index: int) -> LiftingClip:
        item, skeleton = self.views[index], self.views.codec.skeleton
        rig = Rig(item["size"], item["K4"], item["T_w2c"])
        joints3d = item["joints3d"]
        pixels, depth = project(rig.select([0]), joints3d)
        conf = (depth[0] > MIN_DEPTH).float()
        return LiftingClip(
            name=f"{self.views.store.names[item['clip']]}/drawn",
            kp2d=pixels[0] * conf[..., None],
            conf=conf,
            rig=rig,
            joints3d=joints3d,
            valid=torch.ones(joints3d.shape[:2], dtype=torch.bool),
            fps=self.views.fps,
            skeleton=skeleton,
            root_joints=skeleton.indices("left_hip", "right_hip"),
            views=tuple(f"view{v}" for v in range(rig.num_views)),
        )

    def identity(self) -> dict[str, Any]:
        views = self.views
        rigs = views.rigs
        drawn = {"kind": type(rigs).__name__} | {k: repr(v) for k, v in vars(rigs).items()}
        return {
            "set": self.name,
            "fps": views.fps,
            "frames": [views.min_frames, views.max_frames],
            "rigs": drawn,
            "set_seed": views.seed,
            "skeleton": views.codec.skeleton.name,
        }


class CapturedClips:
    """All sequences of a captured data set, each in the view of each of its cameras.

    Args:
        views: clips of the data set.
        set_name: name on the card.
        settings: JSON object with the other settings that determine the clips.
        names: "<sequence>/<camera>" of each clip; None: cameras are numbered.
    """

    def __init__(
        self, views: CaptureViews, set_name: str, settings: dict[str, Any], names: list[str] | None = None
    ) -> None:
        self.views, self.name, self.settings = views, set_name, settings
        self.names = names or [f"{sequence}/{view}" for sequence, view in views.clips]

    def __getitem__(self, index: int) -> LiftingClip:
        return self.views[index]

    def identity(self) -> dict[str, Any]:
        return {"set": self.name} | self.settings


def rich_clips(
    root: str | Path,
    *,
    joints: str | Path | None = None,
    bodies: str | Path | None = None,
    transfer: str | Path | None = None,
    scans: str | Path | None = None,
    allow: str | Path | None = None,
    labels: str | Path | None = None,
    cameras: str | Path | None = None,
    dedup: bool = False,
) -> CapturedClips:
    """The test split of RICH by its protocol: all listed static views of single-person sequences.

    Args:
        root: folder of the data set.
        joints: folder of files with `joints24_world`, used instead of a body model.
        bodies: folder of SMPL-X models; None: the default folder of body models.
        transfer: file of the matrix from SMPL-X to SMPL vertices, see `SmplxJoints`.
        scans: file of floor matrices, see `RichCaptures`.
        allow: text file with "<SEQ>/cam_<cc>" lines that selects clips; None: all clips.
        labels, cameras: files of the prepared test set, read instead of `root`, see `RichBundle`.
        dedup: see `RichBundle`.

    Raises:
        FileNotFoundError: the folder or files in it are missing.
        ValueError: only one of `labels` and `cameras` is given.
    """
    if (labels is None) != (cameras is None):
        raise ValueError("The prepared test set of RICH is two files; give clips.source.labels and .cameras both.")
    if labels is not None and cameras is not None:
        model = SmplxJoints(bodies, transfer=transfer)
        views = RichBundle(labels, cameras, bodies=model, dedup=dedup).dataset()
        return CapturedClips(
            views, "rich/test", {"prepared": True, "dedup": dedup}, names=[name for name, _ in views.clips]
        )
    _need_root(root, "RICH", "clips.root=<folder>, as https://rich.is.tue.mpg.de delivers it")
    wanted: Collection[str] | None = None
    if allow is not None:
        wanted = set(read_text(allow).split())
    reader = RichCaptures(
        root,
        "test",
        joints=joints,
        scans=scans,
        allow=wanted,
        bodies=None if joints is not None else SmplxJoints(bodies, transfer=transfer),
    )
    return CapturedClips(reader.dataset(), "rich/test", {"joints": "files" if joints else "body model"})


def aistpp_clips(
    root: str | Path,
    *,
    split: str | None = "pose_test",
    window: int | None = 120,
    detected: bool = True,
    max_missing: float = 0.5,
) -> CapturedClips:
    """AIST++ by its protocol: every second frame of the first window of each sequence, in every usable camera.

    Args:
        root: folder of the data set.
        split, window, max_missing: see `AistppCaptures`.
        detected: use the detector's keypoints; False: exact projections.

    Raises:
        FileNotFoundError: the folder or files of it are missing.
    """
    _need_root(root, "AIST++", "clips.root=<folder>, as https://google.github.io/aistplusplus_dataset delivers it")
    views = AistppCaptures(root, split, window=window, max_missing=max_missing).dataset(detected=detected)
    settings = {"window": window, "detected": detected, "max_missing": max_missing}
    return CapturedClips(views, f"aistpp/{split or 'all'}", settings)


def _need_root(root: str | Path, name: str, place: str) -> None:
    if not Path(root).is_dir():
        raise FileNotFoundError(f"{name} not found at {root}; set its folder with {place} (docs/data.md).")
