"""Statistics of clips: viewpoints, speeds, lengths, and the words of captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.skeleton import COCO17
from hmr4d.body.viewpoint import CLEAR_TURN, frontness
from hmr4d.curation.filters import FPS

VIEWPOINTS = ("front", "left", "right", "back")
MAJORITY = 15  # frames; window of the majority vote of viewpoints
SURE = 0.5  # smallest confidence of used keypoints
_WORD = re.compile(r"[a-z']+")
_SHOULDERS = list(COCO17.indices("left_shoulder", "right_shoulder"))
_NOSE, _EARS = COCO17.index("nose"), COCO17.indices("left_ear", "right_ear")


def viewpoints(keypoints: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index (L,) into VIEWPOINTS of each frame: the side of the person that the camera sees.

    `frontness` distinguishes front and back. In between, the camera sees the left side if the nose (or, if its
    confidence is low, the more confident ear) lies to the left of the shoulders in the image. A majority vote over
    MAJORITY frames follows.

    Args:
        keypoints: (L, 17, 3) x, y, confidence.
    """
    x, conf = keypoints[..., 0].astype(np.float64), keypoints[..., 2]
    width = frontness(torch.from_numpy(keypoints[..., :2].astype(np.float64))).numpy()
    ear = np.where(conf[:, _EARS[0]] >= conf[:, _EARS[1]], x[:, _EARS[0]], x[:, _EARS[1]])
    face = np.where(conf[:, _NOSE] > SURE, x[:, _NOSE], ear)
    side = np.where(face - x[:, _SHOULDERS].mean(1) < 0, 1, 2)
    views = np.where(width > CLEAR_TURN, 0, np.where(width < -CLEAR_TURN, 3, side))
    votes = np.stack([_moving_counts(views == v) for v in range(len(VIEWPOINTS))], -1)
    own = np.take_along_axis(votes, views[:, None], 1)[:, 0]
    return np.where(own == votes.max(1), views, votes.argmax(1))  # a tie keeps the value of the frame


def _moving_counts(is_view: NDArray[np.bool_]) -> NDArray[np.int64]:
    total = np.r_[0, np.cumsum(is_view)]
    frames, reach = np.arange(len(is_view)), MAJORITY // 2
    return total[np.minimum(frames + reach + 1, len(is_view))] - total[np.maximum(frames - reach, 0)]


def keypoint_speeds(keypoints: NDArray[np.floating], height: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sums of keypoint speeds over pairs of frames with confident keypoints, and the number of pairs.

    Args:
        keypoints: (L, 17, 3).
        height: height of the person's box, pixels, for the second sum.

    Returns:
        (2, 17) sums in pixels and in heights per second, (17,) pairs.
    """
    sure = keypoints[..., 2] > SURE
    pairs = sure[1:] & sure[:-1]
    steps = np.linalg.norm(np.diff(keypoints[..., :2].astype(np.float64), axis=0), axis=-1) * FPS
    sums = (steps * pairs).sum(0)
    return np.stack([sums, sums / max(height, 1e-6)]), pairs.sum(0)


def clip_measures(keypoints: NDArray[np.floating], boxes: NDArray[np.floating]) -> dict[str, Any]:
    """`viewpoint_counts` and `mean_speed` (heights of the box per second) of a clip, and its `keypoint_speed` sums.

    Args:
        keypoints: (L, 17, 3).
        boxes: (L, 4).
    """
    counts = np.bincount(viewpoints(keypoints), minlength=len(VIEWPOINTS))
    sums, pairs = keypoint_speeds(keypoints, float(np.median(boxes[:, 3] - boxes[:, 1])))
    total = int(pairs.sum())
    return {
        "viewpoint_counts": dict(zip(VIEWPOINTS, counts.tolist(), strict=True)),
        "mean_speed": round(float(sums[1].sum() / total), 6) if total else 0.0,
        "keypoint_speed": {"px": sums[0].round(3).tolist(), "h": sums[1].round(5).tolist(), "pairs": pairs.tolist()},
    }


def words_of(caption: str) -> list[str]:
    """Words of a caption, lower case."""
    return _WORD.findall(caption.lower())


@dataclass
class DatasetStatistics:
    """Statistics of a data set, accumulated clip by clip."""

    clips: Counter[str] = field(default_factory=Counter)  # by split
    sources: Counter[str] = field(default_factory=Counter)  # clips by kind of source
    views: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    seconds: Counter[int] = field(default_factory=Counter)  # clips by whole seconds
    frames: int = 0
    captions: int = 0
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 17)))
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(17, np.int64))

    def add(self, meta: Mapping[str, Any]) -> None:
        """Adds a clip from its JSON."""
        self.clips[meta["split"]] += 1
        self.sources[meta["source"]["kind"]] += 1
        self.views.update(meta["viewpoint_counts"])
        self.frames += meta["n_frames"]
        self.seconds[int(meta["n_frames"] / FPS)] += 1
        for caption in meta["captions"]:
            self.captions += 1
            self.words.update(words_of(caption["text"]))
        speeds = meta["keypoint_speed"]
        self.speed += np.array([speeds["px"], speeds["h"]])
        self.pairs += np.array(speeds["pairs"])

    def table(self) -> dict[str, Any]:
        """The statistics as a JSON object."""
        clips, words = sum(self.clips.values()), sum(self.words.values())
        means = self.speed / np.maximum(self.pairs, 1)
        return {
            "clips": clips,
            "clips_by_split": dict(sorted(self.clips.items())),
            "clips_by_source": {k: _share(v, clips) for k, v in sorted(self.sources.items())},
            "captions": self.captions,
            "unique_words": len(self.words),
            "mean_words": round(words / max(self.captions, 1), 3),
            "frames": self.frames,
            "hours": round(self.frames / FPS / 3600, 4),
            "mean_seconds": round(self.frames / FPS / max(clips, 1), 3),
            "viewpoint_frames": {v: _share(self.views[v], self.frames) for v in VIEWPOINTS},
            "clips_by_seconds": {str(k): v for k, v in sorted(self.seconds.items())},
            "speed_px_per_s": dict(zip(COCO17.joint_names, means[0].round(2).tolist(), strict=True)),
            "speed_h_per_s": dict(zip(COCO17.joint_names, means[1].round(4).tolist(), strict=True)),
            "words": dict(self.words.most_common(200)),
        }


def _share(count: int, total: int) -> dict[str, float]:
    return {"count": count, "percent": round(100 * count / max(total, 1), 2)}


def faults_of_table(table: Mapping[str, Any]) -> list[str]:
    """Inconsistencies in a table of statistics; empty if there are none."""
    faults: list[str] = []
    views = sum(view["count"] for view in table["viewpoint_frames"].values())
    if views != table["frames"]:
        faults.append(f"the viewpoints cover {views} frames, but the data set has {table['frames']}.")
    sums: Sequence[tuple[str, int]] = (
        ("splits", sum(table["clips_by_split"].values())),
        ("sources", sum(source["count"] for source in table["clips_by_source"].values())),
        ("lengths", sum(table["clips_by_seconds"].values())),
    )
    faults += [
        f"the {what} have {count} clips, but the data set has {table['clips']}."
        for what, count in sums
        if count != table["clips"]
    ]
    hours = table["frames"] / FPS / 3600
    if abs(hours - table["hours"]) > 0.001 * max(hours, 0.1):
        faults.append(f"{table['frames']} frames are {hours:.4f} hours, but the table says {table['hours']}.")
    return faults
