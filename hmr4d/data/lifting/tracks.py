"""Detected 2D motion, with or without its camera, as single-view examples: more motion for the first stage.

Use it for the target scene of a model. Exclude test sequences.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.body.skeleton import Skeleton
from hmr4d.camera.camera_files import read_camera, undistorted
from hmr4d.data.lifting.views import LiftingViews
from hmr4d.data.store import TextCache
from hmr4d.geometry.ground_pointmap import DEFAULT_RANGE, ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_condition, mirror_rig
from hmr4d.keypoint_files.reading import read_keypoints
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.motion.resampling import resample_positions, resampled_length
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.utils.randomness import ItemRandom, mix_seed
from hmr4d.utils.tensors import interpolate_gaps

logger = logging.getLogger(__name__)

KEYPOINT_SUFFIXES = (".json", ".npz", ".npy")
CAMERA_FILE = "camera.yaml"
SHOULDERS = ("left_shoulder", "right_shoulder")


@dataclass(frozen=True)
class Track2D:
    """One person in one view.

    Attributes:
        name: for messages.
        kp2d: (L, J, 2) pixels, undistorted.
        conf: (L, J) in [0, 1], 0 for missing.
        skeleton: of the joints.
        fps: frames per second.
        size: (2,) width and height of the image, pixels.
        camera: rig of one view in its own world, or None if it is unknown.
    """

    name: str
    kp2d: Tensor
    conf: Tensor
    skeleton: Skeleton
    fps: float
    size: Tensor
    camera: Rig | None = None


@dataclass(frozen=True)
class TrackRules:
    """Quality criteria of tracks and frames.

    Attributes:
        min_conf: joints of lower confidence count as missing.
        min_joints: minimum fraction of the joints in a frame, in addition to its root and a shoulder. min_frames:
            minimum fraction of such frames in a track.
    """

    min_conf: float = 0.3
    min_joints: float = 0.6
    min_frames: float = 0.6


class LiftingTracks(Dataset[dict[str, Any]]):
    """Tracks as items of one view, with the keys of `LiftingViews`; `clip` is the number of the track.

    Unknown values are marked: `known2d` (1, L, J) is False where `features` are interpolated, and
    `camera_known` is False for tracks without a camera, whose `cond` and `pointmap` are zeros. `joints3d` is zeros:
    train with losses of 2D only.

    Args:
        tracks: see `projected_tracks` and `folder_tracks`; or a function that reads them.
        codec: codec of a view's motion; tracks of other skeletons are converted to its skeleton.
        fps: rate of the items.
        min_frames, max_frames: length limits of an item. Shorter tracks are excluded, longer ones give random windows.
            rules: quality criteria. mirror_prob: probability of reflecting track and camera.
        cameras: preset of `camera_condition`.
        grid: cells of the pointmaps along either side.
        max_range: meters, range of the pointmaps. seed: seed of items requested only by index.

    Raises:
        ValueError: no track is good enough.
    """

    text_cache: TextCache | None = None

    def __init__(
        self,
        tracks: Sequence[Track2D] | Callable[[], Sequence[Track2D]],
        *,
        codec: BboxPose2DCodec | ImagePose2DCodec,
        fps: float = 30.0,
        min_frames: int = 60,
        max_frames: int = 300,
        rules: TrackRules | None = None,
        mirror_prob: float = 0.5,
        cameras: str = "paper",
        grid: int = 64,
        max_range: float = DEFAULT_RANGE,
        seed: int = 0,
    ) -> None:
        self.codec, self.fps, self.min_frames, self.max_frames = codec, fps, min_frames, max_frames
        self.rules, self.mirror_prob = rules or TrackRules(), mirror_prob
        self.cameras, self.grid, self.max_range, self.seed = cameras, grid, max_range, seed
        self.tracks: list[Track2D] = []
        dropped: Counter[str] = Counter()
        for track in tracks() if callable(tracks) else tracks:
            ours = self._own_kind(track)
            reason = self._unusable(ours)
            dropped[reason] += 1
            if not reason:
                self.tracks.append(ours)
        kept = dropped.pop("", 0)
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items())
        if not kept:
            raise ValueError(
                f"No 2D track remains for training: {reasons or 'none was given'}. Pass longer or better ones, or "
                "lower min_frames."
            )
        logger.info("2D tracks: %d%s.", kept, f" (left out: {reasons})" if reasons else "")

    def __len__(self) -> int:
        return len(self.tracks)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Frames of item `index`."""
        return min(len(self.tracks[index].kp2d), self.max_frames)

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """(N,) sampling weights in proportion to the tracks' lengths to the power 1 - `power`."""
        weights = np.array([len(track.kp2d) for track in self.tracks], dtype=np.float64) ** (1 - power)
        return weights / weights.sum()

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) as the training sampler asks."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        return self.item(index, ItemRandom.from_seed(seed))

    def item(self, index: int, rng: ItemRandom) -> dict[str, Any]:
        """Item `index` drawn from given generators. Order of draws: window, mirror."""
        track = self.tracks[index]
        start = rng.integer(max(len(track.kp2d) - self.max_frames, 0) + 1)
        pixels, conf = (x[start : start + self.max_frames] for x in (track.kp2d, track.conf))
        camera, size, visible = track.camera, track.size, conf > 0
        if float(rng.uniform(1)) < self.mirror_prob:
            order = list(self.codec.skeleton.mirror_order)
            pixels = torch.stack([size[0] - 1 - pixels[..., 0], pixels[..., 1]], -1)[:, order]
            visible, camera = visible[:, order], camera and mirror_rig(camera)
        kp2d = pixels * visible[..., None]
        ever = visible.any(0)  # joints without any detection are not in the box
        return {
            "joints3d": pixels.new_zeros(*pixels.shape[:2], 3),
            "features": self.codec.encode(pixels, size, ever.expand(visible.shape))[None],
            "kp2d_obs": kp2d,
            "visible": visible,
            "condition2d": self.codec.encode_condition(kp2d, size, visible),
            "known2d": (visible & _whole(visible, self.codec.skeleton, self.rules)[:, None])[None],
            **self._camera(camera, size),
            "length": len(pixels),
            "clip": index,
        }

    def _camera(self, camera: Rig | None, size: Tensor) -> dict[str, Any]:
        """The camera input of the network, or zeros."""
        known = camera is not None
        if camera is None:  # a placeholder with valid values
            K4 = torch.cat([size.amax().expand(2), size / 2])
            camera = Rig(size[None], K4[None], torch.eye(4)[None])
        return {
            "size": camera.size,
            "K4": camera.K4,
            "T_w2c": camera.T_w2c,
            "cond": camera_condition(camera, self.cameras) * known,
            "pointmap": ground_pointmap(camera, self.grid, self.max_range) * known,
            "camera_known": known,
        }

    def _own_kind(self, track: Track2D) -> Track2D:
        """The track with the codec's joints at the items' rate; missing joints are interpolated in time."""
        skeleton = self.codec.skeleton
        kp2d, conf = observed_joints(track.kp2d, track.conf, track.skeleton, skeleton)
        conf = conf * (conf >= self.rules.min_conf)
        kp2d = interpolate_gaps(kp2d.transpose(0, 1), (conf > 0).T).transpose(0, 1)
        frames = torch.arange(resampled_length(len(kp2d), track.fps, self.fps)) * (track.fps / self.fps)
        kp2d = torch.from_numpy(resample_positions(kp2d.numpy(), track.fps, self.fps))
        camera = None if track.camera is None else track.camera.to(torch.float32)
        nearest = frames.round().long().clamp(max=len(conf) - 1)
        return Track2D(track.name, kp2d.float(), conf[nearest].float(), skeleton, self.fps, track.size.float(), camera)

    def _unusable(self, track: Track2D) -> str:
        """Why a track is excluded, or ""."""
        if len(track.kp2d) < self.min_frames:
            return "too short"
        whole = _whole(track.conf > 0, track.skeleton, self.rules)
        return "" if float(whole.float().mean()) >= self.rules.min_frames else "with too many joints missing"


def projected_tracks(views: LiftingViews) -> list[Track2D]:
    """What view 0 observes of every clip of a store, with its camera and without the 3D motion: 2D of a domain."""
    items = (views[i] for i in range(len(views)))
    return [
        Track2D(
            views.store.names[item["clip"]],
            item["kp2d_obs"],
            item["visible"].float(),
            views.codec.skeleton,
            views.fps,
            item["size"][0],
            Rig(item["size"], item["K4"], item["T_w2c"]).select([0]),
        )
        for item in items
    ]


def folder_tracks(
    folder: str | Path, *, fps: float | None = None, skeleton: str | None = None, size: tuple[int, int] | None = None
) -> list[Track2D]:
    """All people of all keypoint files of a folder.

    The camera of `walk.json` is `walk.yaml`, or `camera.yaml` for files without their own; with neither, it is unknown.

    Args:
        folder: folder of keypoint files of pose detectors. fps: rate of files without one.
        skeleton: joint set, where 17 joints may be COCO or Human3.6M.
        size: width and height of images without a camera file.

    Raises:
        FileNotFoundError: the folder has no keypoint files.
        ValueError: a file is damaged, or its rate or image size is unknown.
    """
    files = sorted(p for p in Path(folder).glob("*") if p.suffix in KEYPOINT_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"No keypoint files ({', '.join(KEYPOINT_SUFFIXES)}) in {folder}. Check the folder.")
    return [track for path in files for track in _file_tracks(path, fps, skeleton, size)]


def _file_tracks(path: Path, fps: float | None, skeleton: str | None, size: tuple[int, int] | None) -> list[Track2D]:
    """The people of one file."""
    camera_file = next((p for p in (path.with_suffix(".yaml"), path.with_name(CAMERA_FILE)) if p.is_file()), None)
    camera = None if camera_file is None else read_camera(camera_file)
    size = size if camera is None else camera.size
    if size is None:
        raise ValueError(f"The image size of {path} is unknown. Pass size, or put a {CAMERA_FILE} next to it.")
    people = read_keypoints(path, person="all", skeleton=skeleton, size=size)
    tracks: list[Track2D] = []
    for person in people if isinstance(people, list) else [people]:
        rate = person.fps or fps
        if rate is None:
            raise ValueError(f"{path} does not contain its frame rate. Pass fps.")
        seen = person if camera is None else undistorted(person, camera)
        rig = None if camera is None else camera.rig
        kp2d, conf = torch.from_numpy(seen.kp2d), torch.from_numpy(seen.kp2d_conf)
        name = f"{path.name}:{person.person}"
        tracks.append(Track2D(name, kp2d, conf, person.skeleton, rate, torch.tensor(size, dtype=torch.float32), rig))
    return tracks


def _whole(visible: Tensor, skeleton: Skeleton, rules: TrackRules) -> Tensor:
    """(L,) frames with enough joints, the root and a shoulder among them."""
    root = visible[:, list(skeleton.root_joints)].all(-1)
    shoulder = visible[:, list(skeleton.indices(*SHOULDERS))].any(-1)
    return root & shoulder & (visible.float().mean(-1) >= rules.min_joints)
