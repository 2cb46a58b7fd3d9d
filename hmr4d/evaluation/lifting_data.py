"""Evaluation clips of lifting: the view of one camera, the simulated errors, and the rig."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hmr4d.body.joint_conversion import DETECTORS, convert_confidence, convert_joints
from hmr4d.body.skeleton import COCO17, OPENPOSE18, SMPL22, SMPL24, Skeleton, get_skeleton
from hmr4d.camera.rig_samplers import NUM_VIEWS, complete, feet_place
from hmr4d.data.lifting.corruptions import NO_CORRUPTION, KeypointCorruption
from hmr4d.data.store import TextCache
from hmr4d.evaluation.captures.views import MIN_DEPTH, LiftingClip
from hmr4d.evaluation.lifting_clips import StoreClips
from hmr4d.geometry.rigs import Rig, camera_angles, project
from hmr4d.keypoint_files.gaps import bridge_gaps, drop_unsure
from hmr4d.keypoint_files.smpl_joints import observed_joints
from hmr4d.representation.bbox_pose2d import BboxPose2DCodec
from hmr4d.utils.randomness import ItemRandom, mix_seed

logger = logging.getLogger(__name__)

Views = Literal["virtual", "captured"]
USUAL_PLACE = (4.0, 0.0)  # metres ahead of V0 and to its right, where no frame says where the person stands
SMPL = (SMPL22.name, SMPL24.name)
KEYPOINTS = (COCO17.name, OPENPOSE18.name)  # what detectors show of SMPL joints
MAIN_VIEW, OTHER_VIEWS = 0, 1  # parts of the seeds of what is seen


@dataclass(frozen=True)
class Observation:
    """Input of a method for a clip.

    Attributes:
        kp2d: (V, L, J, 2) pixels of every view, 0 where missing; methods that lift get view 0, the oracle all.
        conf: (V, L, J) in [0, 1].
        rig: V cameras.
        skeleton: of the joints that are lifted.
    """

    kp2d: Tensor
    conf: Tensor
    rig: Rig
    skeleton: Skeleton


class ScoredLifts(Dataset[dict[str, Any]]):
    """Clips to lift and their truth.

    Keys of an item: `kp2d_obs` (L, J, 2) pixels of view 0, `conf` (L, J), `size`, `K4`, `T_w2c` of the rig, `length`,
    `item` (its number in the whole set), `seed`, `fps` and `num_samples`. An item depends on the set, its number and
    the seeds alone.

    Args:
        clips: makes the source of clips.
        skeleton: joints to lift and score; None: those of the clips. Where clips have a detector's keypoints and SMPL
            joints are lifted from them, as far as they tell (`detected_joints`), the keypoints are what is scored.
        corruption: errors of the 2D; None for none.
        keypoints: SMPL joints are seen as far as these keypoints of a detector tell, errors included, "coco17" or
            "openpose18"; None: each is seen itself.
        bridged: unsure joints are dropped and short gaps closed first (`keypoint_gaps`), as when files are lifted, for
            all methods alike.
        views: what stands beside V0 where the source has drawn no rig: "virtual" copies of it around the place of the
            feet, or other "captured" cameras, completed by virtual ones.
        num_views: V.
        limit: this many items, evenly spread; None: all.
        set_seed: of the errors of the 2D.
        seed: of the methods.
        num_samples: motions that a drawing method averages.

    Raises:
        ValueError: options that mean nothing.
    """

    text_cache: TextCache | None = None

    def __init__(
        self,
        clips: Callable[[], Any],
        *,
        skeleton: Skeleton | None = None,
        corruption: KeypointCorruption | None = None,
        keypoints: str | None = None,
        bridged: bool = False,
        views: Views = "virtual",
        num_views: int = NUM_VIEWS,
        limit: int | None = None,
        set_seed: int = 0,
        seed: int = 0,
        num_samples: int = 1,
    ) -> None:
        if keypoints is not None and keypoints not in KEYPOINTS:
            raise ValueError(f"keypoints is {keypoints!r}; choose one of {', '.join(KEYPOINTS)}, or null for true 2D.")
        if views not in get_args(Views):
            raise ValueError(f"views is {views!r}; choose one of {', '.join(get_args(Views))}.")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit}; give at least 1 clip, or null for all.")
        self.source: Any = clips()
        self.names: list[str] = self.source.names
        self.skeleton, self.corruption = skeleton, corruption or NO_CORRUPTION
        self.keypoints = None if keypoints is None else get_skeleton(keypoints)
        self.bridged = bridged
        self.views, self.num_views, self.set_seed, self.seed = views, num_views, set_seed, seed
        self.num_samples = num_samples
        count = len(self.names) if limit is None else min(limit, len(self.names))
        self.items = [i * len(self.names) // count for i in range(count)]
        self._chosen: list[int] | None = None
        self.clip = lru_cache(maxsize=4)(self._clip)
        self.observation = lru_cache(maxsize=4)(self._observation)

    @property
    def set_name(self) -> str:
        """ "<data set>/<split>"."""
        return self.source.name

    def sequence(self, item: int) -> str:
        """Name of what an item shows; items of several cameras share it."""
        return self.names[item].rsplit("/", 1)[0]

    def identity(self) -> dict[str, Any]:
        """Settings that determine the items."""
        names = hashlib.sha256("\n".join(self.names).encode()).hexdigest()
        own = {
            "names": names,
            "corruption": asdict(self.corruption),
            "set_seed": self.set_seed,
            "num_views": self.num_views,
            "joints": self.clip(self.items[0]).skeleton.name,
        }
        scored = self.clip(self.items[0]).skeleton.name
        own |= {k: s.name for k, s in (("keypoints", self.shown), ("lifted", self.lifted)) if s.name != scored}
        own |= {"bridged": True} if self.bridged else {}
        return self.source.identity() | own | ({} if self._draws_rigs else {"views": self.views})

    @cached_property
    def lifted(self) -> Skeleton:
        """Joints that methods lift."""
        return self.skeleton or self.clip(self.items[0]).skeleton

    @cached_property
    def shown(self) -> Skeleton:
        """Joints or keypoints that the cameras show, before those that are lifted are made of them."""
        return self._seen_clip(self.clip(self.items[0])).skeleton

    @property
    def joint_notes(self) -> list[str]:
        """Note about joints that are observed, lifted or scored instead of others."""
        own, scored = self.source[self.items[0]].skeleton, self.clip(self.items[0]).skeleton
        notes: list[str] = []
        if own.name != scored.name:
            notes.append(f"Scored over {scored.num_joints} joints ('{scored.name}'); the set has {own.num_joints}.")
        if self.shown.name != self.lifted.name and self.lifted.name in SMPL:
            notes.append(
                f"Every method is given '{self.lifted.name}' joints as far as '{self.shown.name}' keypoints tell them: "
                "limbs as they are, torso and head as mixtures of hips, shoulders and ears with a confidence of 0.5 at "
                "most, and no feet."
            )
        if self.lifted.name != scored.name:
            notes.append(
                f"'{self.lifted.name}' joints are lifted and turned into '{scored.name}' to be scored: face and hips "
                "stand where a fixed body has them in the frames of head and pelvis, which is part of every error."
            )
        return notes

    def choose(self, items: Iterable[int]) -> None:
        """Makes the loader's items some of all."""
        self._chosen = list(items)

    def __len__(self) -> int:
        return len(self.items if self._chosen is None else self._chosen)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        place = index[0] if isinstance(index, tuple) else index
        item = (self.items if self._chosen is None else self._chosen)[place]
        seen, clip = self.observation(item), self.clip(item)
        return {
            "kp2d_obs": seen.kp2d[0],
            "conf": seen.conf[0],
            "size": seen.rig.size,
            "K4": seen.rig.K4,
            "T_w2c": seen.rig.T_w2c,
            "length": len(clip.joints3d),
            "item": item,
            "seed": self.item_seed(item),
            "fps": float(clip.fps),
            "num_samples": self.num_samples,
        }

    def item_seed(self, item: int) -> int:
        """Seed of sample 0 of an item."""
        return mix_seed(self.seed, item) >> 1  # that of sample k is k more

    def num_frames(self, index: int) -> int:
        """Frames of the loader's item."""
        return int(self[index]["length"])

    def balance_weights(self, power: float) -> np.ndarray:
        """(N,) all alike: tests visit every clip once."""
        return np.ones(len(self))

    @property
    def _draws_rigs(self) -> bool:
        return isinstance(self.source, StoreClips)

    def _clip(self, item: int) -> LiftingClip:
        """A clip with the joints that are scored."""
        clip = self.source[item]
        if self.skeleton is None or clip.skeleton.name == self.skeleton.name or _shows(clip.skeleton, self.skeleton):
            return clip
        try:
            return in_joints(clip, self.skeleton)
        except ValueError as error:
            raise ValueError(
                f"The clips of {self.set_name} show '{clip.skeleton.name}' joints and the method lifts "
                f"'{self.skeleton.name}': choose weights of a network that was trained for their joints, or methods "
                f"without a network ({error})"
            ) from error

    def _seen_clip(self, clip: LiftingClip) -> LiftingClip:
        """A clip with the joints or keypoints that the cameras show."""
        if self.keypoints is None or clip.skeleton.name == self.keypoints.name:
            return clip
        if clip.skeleton.name not in SMPL:
            raise ValueError(
                f"keypoints is '{self.keypoints.name}', but the clips of {self.set_name} show '{clip.skeleton.name}' "
                "keypoints themselves. Leave keypoints out."
            )
        return as_keypoints(clip, self.keypoints)

    def _observation(self, item: int) -> Observation:
        clip = self._seen_clip(self.clip(item))
        camera = clip.rig.select([0])
        kp2d, conf = self._corrupted(clip, clip.kp2d, clip.conf, camera, item, MAIN_VIEW)
        rig = clip.rig if self._draws_rigs else self._rig(clip, kp2d, conf)
        pixels, depth = project(rig, clip.joints3d)
        all2d, confs = [kp2d], [conf]
        for view in range(1, rig.num_views):
            known = (clip.valid & (depth[view] > MIN_DEPTH)).to(conf)
            own = self._corrupted(clip, pixels[view], known, rig.select([view]), item, OTHER_VIEWS + view)
            all2d.append(own[0])
            confs.append(own[1])
        seen = torch.stack(all2d), torch.stack(confs)
        seen = bridge_gaps(*drop_unsure(*seen), clip.fps) if self.bridged else seen
        told = as_joints(*seen, clip.skeleton, self.lifted)
        return Observation(*told, rig, self.lifted)

    def _corrupted(
        self, clip: LiftingClip, kp2d: Tensor, conf: Tensor, camera: Rig, item: int, part: int
    ) -> tuple[Tensor, Tensor]:
        """A view's 2D (L, J, 2) and confidence (L, J) with independent errors."""
        known, size = conf > 0, camera.size[0]
        if self.corruption != NO_CORRUPTION:
            codec = BboxPose2DCodec(clip.skeleton)
            side = codec.box_side(codec.encode(kp2d, size, known), size)
            rng = ItemRandom.from_seed(mix_seed(self.set_seed, item, part))
            kp2d, visible = self.corruption.apply(kp2d, side, size, clip.skeleton, rng)
            conf = conf * visible
        return torch.where((conf > 0)[..., None], kp2d, 0.0), conf

    def _rig(self, clip: LiftingClip, kp2d: Tensor, conf: Tensor) -> Rig:
        """V0 and the other views."""
        rig = clip.rig.select([0])
        if self.views == "captured":
            rig = clip.rig.select(spread_views(clip.rig, self.num_views))
        if rig.num_views >= self.num_views:
            return rig
        try:
            place = feet_place(rig.select([0]), kp2d, conf > 0, clip.skeleton)
        except ValueError as error:
            logger.warning("%s: virtual cameras stand around the usual place: %s", clip.name, error)
            place = tuple(torch.tensor(x) for x in USUAL_PLACE)
        return complete(rig, self.num_views, float(place[0]), float(place[1]))


def in_joints(clip: LiftingClip, target: Skeleton) -> LiftingClip:
    """A clip with the joints of another skeleton, derived from its own; ValueError lists impossible ones."""
    source = clip.skeleton
    valid = convert_confidence(clip.valid.double(), source, target) > 0
    return replace(
        clip,
        skeleton=target,
        joints3d=convert_joints(clip.joints3d, source, target) * valid[..., None],
        kp2d=convert_joints(clip.kp2d, source, target),
        conf=convert_confidence(clip.conf, source, target),
        valid=valid,
        root_joints=target.indices("left_hip", "right_hip"),
    )


def as_keypoints(clip: LiftingClip, target: Skeleton) -> LiftingClip:
    """A clip of SMPL joints with exact detector keypoints; they are valid where all joints are."""
    joints3d = convert_joints(clip.joints3d, clip.skeleton, target)
    valid = clip.valid.all(-1, keepdim=True).expand(joints3d.shape[:2])
    pixels, depth = project(clip.rig.select([0]), joints3d)
    conf = (valid & (depth[0] > MIN_DEPTH)).to(clip.conf)
    return replace(
        clip,
        skeleton=target,
        joints3d=joints3d * valid[..., None],
        kp2d=pixels[0] * conf[..., None],
        conf=conf,
        valid=valid,
        root_joints=target.root_joints,
    )


def as_joints(kp2d: Tensor, conf: Tensor, source: Skeleton, target: Skeleton) -> tuple[Tensor, Tensor]:
    """Pixels (..., J, 2), 0 where missing, and confidence (..., J) of the joints that are lifted from those shown."""
    if target.name == SMPL24.name and _shows(source, target):  # hands come from forearms
        (kp2d, conf), source = observed_joints(kp2d, conf, source, SMPL22), SMPL22
    return observed_joints(kp2d, conf, source, target)


def _shows(source: Skeleton, target: Skeleton) -> bool:
    """Whether keypoints of a detector are lifted to SMPL joints."""
    return source.name in DETECTORS and target.name in SMPL


def spread_views(rig: Rig, num_views: int) -> list[int]:
    """V0 and others of a rig (N, ...), evenly chosen in the order of their yaw: `num_views` of them or all."""
    yaw = camera_angles(rig.T_w2c[:, :3, :3])[2] % (2 * torch.pi)
    others = sorted(range(1, rig.num_views), key=lambda v: float(yaw[v]))
    count = min(num_views - 1, len(others))
    return [0, *(others[(2 * k + 1) * len(others) // (2 * count)] for k in range(count))]
