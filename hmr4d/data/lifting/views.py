"""3D motion of a store as several calibrated cameras over a floor see it: training examples of lifting."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.body.joint_conventions import convention_of, foot_heights, source_convention
from hmr4d.body.joint_conversion import convert_joints, smpl_to_coco17
from hmr4d.body.skeleton import COCO17, SMPL22, Skeleton
from hmr4d.camera.rig_samplers import complete
from hmr4d.data.clip_index import Labels, labeled_clips
from hmr4d.data.datasets import cell_weights
from hmr4d.data.lifting.corruptions import NO_CORRUPTION, KeypointCorruption
from hmr4d.data.lifting.placement import PlacementRules, find_place
from hmr4d.data.store import MotionStore, NoClipsError, TextCache
from hmr4d.geometry.ground_pointmap import DEFAULT_RANGE, ground_pointmap
from hmr4d.geometry.rigs import Rig, camera_angles, camera_condition, camera_pose, mirror_rig, project
from hmr4d.keypoint_files.smpl_joints import smpl22_from_detections
from hmr4d.motion.canonical import mirror
from hmr4d.motion.ground_contact import rest_heights
from hmr4d.motion.resampling import resample_positions, resampled_length
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.representation.image_pose2d import ImagePose2DCodec
from hmr4d.utils.randomness import ItemRandom, mix_seed

logger = logging.getLogger(__name__)

LOWEST_SHARE = 0.01  # of the heights of contact joints: what counts as standing
TOES_SHARE = 0.5  # fraction of items with detector keypoints whose detector has toes
PLACE_ERROR = 0.05  # of the distance: how wrongly the place of the feet is known to virtual rigs
ANGLE_ERROR, HEIGHT_ERROR, FOCAL_ERROR = math.radians(0.5), 0.03, 0.02  # of a calibration; the last two are shares


class RigSource(Protocol):
    """Interface of rig samplers."""

    @property
    def num_views(self) -> int: ...

    def draw(self, rng: ItemRandom) -> Rig:
        """A rig of at most `num_views` views; virtual ones complete it."""
        ...


@dataclass(frozen=True)
class MotionAugmentation:
    """Augmentation of motion. Random heading and position are always applied.

    Attributes:
        scale: limits of the scale factor of body and path; without it, all sizes are those of one skeleton. speed:
            limits of the playback speed factor. mirror_prob: probability of reflecting motion and rig. camera_noise:
            errors of V0's calibration in the network input, in units of half a degree of pitch and roll, 3 % of height
            and 2 % of focal length (standard deviations).
    """

    scale: tuple[float, float] = (0.85, 1.15)
    speed: tuple[float, float] = (0.8, 1.25)
    mirror_prob: float = 0.5
    camera_noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "speed"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}); expected two factors above 0, the smaller first.")


NO_AUGMENTATION = MotionAugmentation((1.0, 1.0), (1.0, 1.0), 0.0)


class LiftingViews(Dataset[dict[str, Any]]):
    """Windows of a store's clips at random positions in front of a rig.

    Keys of an item: `joints3d` (L, J, 3) meters in the rig's world; `size` (V, 2), `K4` (V, 4) and `T_w2c` (V, 4, 4) of
    the rig; `features` (V, L, D) of its views; of view 0 with detector errors `kp2d_obs` (L, J, 2) pixels,
    0 where missing, `visible` (L, J) bool and `condition2d` (L, C); `cond` (V, 7 | 11) and `pointmap`
    (V, 4, grid, grid), the camera input of the network; `known2d` (V, L, J) bool, which points of the features
    are known, here all, and `camera_known`, here True; `length` int; `clip` int.

    Args:
        store: folder of a motion store, or an open one.
        split: name of the split.
        rigs: draws the rig of an item.
        codec: of a view's motion; its skeleton is that of the items.
        labels, exclude_labels: label kind -> values of included or excluded clips; None: no rule.
        fps: rate of the items; motion of another rate goes through a cubic spline.
        min_frames, max_frames: length limits of an item. Shorter clips are excluded, longer ones give random windows.
            augmentation: augmentation of the motion, or None. corruption: detector errors of view 0, or None.
            detector_share: fraction of items in which the SMPL joints of view 0 are derived from COCO keypoints
            (`detected_joints`), in half of them with toes; SMPL-22 only. placement: criteria of a good position.
        cameras: preset of `camera_condition`.
        grid: cells of the pointmaps along either side.
        max_range: meters, of the pointmaps.
        seed: seed of items requested only by index, as in evaluation.

    Raises:
        ValueError: no clip is long enough, unknown labels, or `detector_share` with another skeleton than SMPL-22.
    """

    text_cache: TextCache | None = None

    def __init__(
        self,
        store: MotionStore | str,
        split: str | None,
        *,
        rigs: RigSource,
        codec: BboxPose2DCodec | ImagePose2DCodec,
        fps: float = 30.0,
        min_frames: int = 60,
        max_frames: int = 300,
        augmentation: MotionAugmentation | None = None,
        corruption: KeypointCorruption | None = None,
        detector_share: float = 0.0,
        placement: PlacementRules | None = None,
        cameras: str = "paper",
        grid: int = 64,
        max_range: float = DEFAULT_RANGE,
        labels: Labels = None,
        exclude_labels: Labels = None,
        seed: int = 0,
    ) -> None:
        self.store = store if isinstance(store, MotionStore) else MotionStore.open(store)
        self.rigs, self.codec, self.fps, self.seed = rigs, codec, fps, seed
        self.min_frames, self.max_frames = min_frames, max_frames
        self.augmentation, self.corruption = augmentation or NO_AUGMENTATION, corruption or NO_CORRUPTION
        if detector_share > 0 and codec.skeleton.name != SMPL22.name:
            raise ValueError(
                f"detector_share is {detector_share}, but '{codec.skeleton.name}' is lifted; only '{SMPL22.name}' can "
                "be derived from detector keypoints. Set it to 0."
            )
        self.detector_share = detector_share
        self.placement, self.cameras = placement or PlacementRules(), cameras
        self.grid, self.max_range = grid, max_range
        self.foot_heights = foot_heights(convention_of(self.store.info) or source_convention(self.store.name))
        self.clips = self._long_enough(split, labels, exclude_labels)

    def __len__(self) -> int:
        return len(self.clips)

    def num_frames(self, index: int, seed: int | None = None) -> int:
        """Frames of item `index` at its own speed."""
        length = int(self.store.lengths[self.clips[index]])
        return min(resampled_length(length, self.store.fps, self.fps), self.max_frames)

    def balance_weights(self, power: float = 0.5) -> np.ndarray:
        """(N,) sampling weights; see `MotionViews.balance_weights`."""
        return cell_weights(self.store, self.clips.tolist(), power)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        """Item by index, or by (index, seed) as the training sampler asks."""
        index, seed = index if isinstance(index, tuple) else (index, mix_seed(self.seed, index))
        return self.item(index, ItemRandom.from_seed(seed))

    def item(self, index: int, rng: ItemRandom) -> dict[str, Any]:
        """Item `index` drawn from given generators."""
        clip = int(self.clips[index])
        standing = align_to_floor(self._window(clip, rng), self.store.skeleton, self.foot_heights)
        motion = self._turned(standing, rng)
        motion = convert_joints(motion, self.store.skeleton, self.codec.skeleton)
        rig, joints3d, pixels = self._seen(motion, rng)
        features = self.codec.encode(pixels, rig.size)
        seen, known = self._detected(joints3d, pixels[0], rig, rng)
        kp2d, visible = self.corruption.apply(
            seen, self.codec.box_side(features[0], rig.size[0]), rig.size[0], self.codec.skeleton, rng
        )
        kp2d, visible = kp2d * known[..., None], visible & known
        assumed = miscalibrated(rig, self.augmentation.camera_noise, rng)
        return {
            "joints3d": joints3d,
            "size": rig.size,
            "K4": rig.K4,
            "T_w2c": rig.T_w2c,
            "features": features,
            "kp2d_obs": kp2d,
            "visible": visible,
            "condition2d": self.codec.encode_condition(kp2d, rig.size[0], visible),
            "cond": camera_condition(assumed, self.cameras),
            "pointmap": ground_pointmap(assumed, self.grid, self.max_range),
            "known2d": torch.ones(pixels.shape[:-1], dtype=torch.bool),
            "camera_known": True,
            "length": len(joints3d),
            "clip": clip,
        }

    def _long_enough(self, split: str | None, labels: Labels, exclude_labels: Labels) -> np.ndarray:
        """(N,) clips of the split with such labels and `min_frames` at the fastest playback."""
        clips = np.array(labeled_clips(self.store, split, labels, exclude_labels), dtype=np.int64)
        fastest = self.fps / self.augmentation.speed[1]
        frames = np.array([resampled_length(int(n), self.store.fps, fastest) for n in self.store.lengths[clips]])
        kept = clips[frames >= self.min_frames]
        if not len(kept):
            raise NoClipsError(
                f"No clip of {self.store.path}, split '{split}', has {self.min_frames} frames at {self.fps:g} fps and "
                f"{self.augmentation.speed[1]:g} times the speed. Lower min_frames."
            )
        logger.info(
            "%s/%s: %d clips (left out: %d too short).", self.store.name, split, len(kept), len(clips) - len(kept)
        )
        return kept

    def _window(self, clip: int, rng: ItemRandom) -> Tensor:
        """(L, J, 3) a section of a clip at the rate of the items with random speed and size."""
        u = rng.uniform(3)
        speed, scale = _between(self.augmentation.speed, u[0]), _between(self.augmentation.scale, u[1])
        joints3d = self.store.joints3d(clip)
        step = speed * self.store.fps / self.fps  # source frames per frame
        longest = math.ceil((self.max_frames - 1) * step) + 1
        start = int(float(u[2]) * max(len(joints3d) - longest + 1, 1))
        window = resample_positions(joints3d[start : start + longest], self.store.fps, self.fps / speed)
        return scale * torch.from_numpy(window[: self.max_frames])

    def _turned(self, joints3d: Tensor, rng: ItemRandom) -> Tensor:
        """The motion rotated by a random angle about the vertical axis, with the mean root position at x = z = 0."""
        root = joints3d[:, list(self.store.skeleton.root_joints)].mean((0, 1)) * joints3d.new_tensor([1.0, 0.0, 1.0])
        angle = 2 * math.pi * float(rng.uniform(1))
        c, s = math.cos(angle), math.sin(angle)
        return (joints3d - root) @ joints3d.new_tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]).T

    def _seen(self, motion: Tensor, rng: ItemRandom) -> tuple[Rig, Tensor, Tensor]:
        """Rig of all views, the motion placed before it, and pixels (V, L, J, 2); the best of several tries."""
        best: tuple[float, Rig, Tensor, Tensor] | None = None
        for _ in range(self.placement.rigs):
            rig = self.rigs.draw(rng)
            place = find_place(motion, self.codec.skeleton.root_joints, rig, self.placement, rng)
            guess = place.offset * (1 + PLACE_ERROR * rng.normal(2))
            rig = complete(rig, self.rigs.num_views, -float(guess[1]), float(guess[0]))
            moved = motion + torch.stack([place.offset[0], place.offset.new_zeros(()), place.offset[1]])
            pixels, depth = project(rig, moved)
            score = place.score - 2.0 * float(depth.amin() < self.placement.min_depth)
            if best is None or score > best[0]:
                best = score, rig, moved, pixels
            if score >= 1:
                break
        assert best is not None  # at least one rig was tried
        _, rig, moved, pixels = best
        if float(rng.uniform(1)) < self.augmentation.mirror_prob:
            rig, moved = mirror_rig(rig), mirror(moved, self.codec.skeleton)
            across = torch.stack([rig.size[:, :1, None] - 1 - pixels[..., 0], pixels[..., 1]], -1)
            pixels = across[..., self.codec.skeleton.mirror_order, :]
        return rig, moved, pixels

    def _detected(self, joints3d: Tensor, pixels: Tensor, rig: Rig, rng: ItemRandom) -> tuple[Tensor, Tensor]:
        """Joints as view 0 reports them, (L, J, 2), and which of them at all (L, J) bool."""
        all_known = torch.ones(pixels.shape[:-1], dtype=torch.bool)
        if self.detector_share == 0:
            return pixels, all_known
        draws = rng.uniform(2)
        if draws[0] >= self.detector_share:
            return pixels, all_known
        return seen_by_detector(joints3d, rig, with_toes=bool(draws[1] < TOES_SHARE))


def seen_by_detector(joints3d: Tensor, rig: Rig, *, with_toes: bool) -> tuple[Tensor, Tensor]:
    """SMPL-22 joints in view 0, derived from COCO keypoints of the joints (L, 22, 3).

    Returns:
        (L, 22, 2) pixels, 0 if missing, and (L, 22) bool which are available.
    """
    keypoints = project(rig.select([0]), smpl_to_coco17(joints3d))[0][0]
    kp2d, conf = smpl22_from_detections(keypoints, torch.ones_like(keypoints[..., 0]), COCO17)
    if with_toes:
        toes = list(SMPL22.indices("left_foot", "right_foot"))
        kp2d[:, toes], conf[:, toes] = project(rig.select([0]), joints3d[:, toes])[0][0], 1.0
    return kp2d, conf > 0


def align_to_floor(joints3d: Tensor, skeleton: Skeleton, known: Mapping[str, float] | None = None) -> Tensor:
    """Motion (L, J, 3) moved up or down so that its lowest contact joints are as high as those of a standing foot.

    The height is the first percentile, so single frames below the floor have no effect.

    Args:
        joints3d: meters, y up.
        skeleton: skeleton of the joints.
        known: heights by part of the foot from the joint convention, see `rest_heights`.
    """
    sole = float(rest_heights(skeleton, known)[list(skeleton.contact_joints)].min())
    heights = joints3d[:, list(skeleton.contact_joints), 1].flatten()
    lowest = heights.sort().values[int(LOWEST_SHARE * (len(heights) - 1))]
    return joints3d + joints3d.new_tensor([0.0, 1.0, 0.0]) * (sole - lowest)


def miscalibrated(rig: Rig, size: float, rng: ItemRandom) -> Rig:
    """The rig with errors in V0's angles, height and focal length; see `MotionAugmentation.camera_noise`."""
    if size == 0:
        return rig
    noise = size * rng.normal(4)
    pitch, roll, yaw = (a[0] for a in camera_angles(rig.T_w2c[:, :3, :3]))
    center = rig.centers[0] * rig.T_w2c.new_tensor([1.0, 1 + HEIGHT_ERROR * float(noise[2]), 1.0])
    T_w2c, K4 = rig.T_w2c.clone(), rig.K4.clone()
    T_w2c[0] = camera_pose(pitch + ANGLE_ERROR * noise[0], roll + ANGLE_ERROR * noise[1], yaw, center)
    K4[0, :2] *= 1 + FOCAL_ERROR * float(noise[3])
    return Rig(rig.size, K4, T_w2c)


def _between(bounds: tuple[float, float], u: Tensor) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(u)
