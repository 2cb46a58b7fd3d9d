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
USUAL_PLACE = (4.0, 0.0)  # meters in front of V0 and to its right; used if no frame locates the person
SMPL = (SMPL22.name, SMPL24.name)
KEYPOINTS = (COCO17.name, OPENPOSE18.name)  # detector keypoints that can be made of SMPL joints
MAIN_VIEW, OTHER_VIEWS = 0, 1  # distinguish the seeds of the 2D errors


@dataclass(frozen=True)
class Observation:
    """Input of a lifting method for a clip.

    Attributes:
        kp2d: (V, L, J, 2) pixels of every view, 0 where missing. Lifting methods get view 0; the oracle gets all.
        conf: (V, L, J) in [0, 1].
        rig: V cameras.
        skeleton: skeleton of the lifted joints.
    """

    kp2d: Tensor
    conf: Tensor
    rig: Rig
    skeleton: Skeleton


class ScoredLifts(Dataset[dict[str, Any]]):
    """Clips to lift and their ground truth.

    Keys of an item: `kp2d_obs` (L, J, 2) pixels of view 0, `conf` (L, J), `size`, `K4`, `T_w2c` of the rig, `length`,
    `item` (index in the whole set), `seed`, `fps` and `num_samples`. An item depends on the set, its index and the
    seeds alone.

    Args:
        clips: factory of the source of clips.
        skeleton: joints to lift and score; None: those of the clips. If the clips have detector keypoints and SMPL
            joints are derived from them (`detected_joints`), the keypoints are scored.
        corruption: simulated errors of the 2D; None: no errors.
        keypoints: detector layout "coco17" or "openpose18": SMPL joints are derived from its keypoints, errors
            included. None: the SMPL joints themselves are observed.
        bridged: drop joints of low confidence and fill short gaps first (`keypoint_gaps`), as `hmr4d lift` does. This
            applies to all methods.
        views: cameras next to V0 if the source has no random rig: "virtual" copies of V0 around the position of the
            feet, or other "captured" cameras, completed by virtual ones.
        num_views: V.
        limit: number of items, evenly spaced in the set; None: all.
        set_seed: seed of the 2D errors.
        seed: seed of the methods.
        num_samples: number of samples that a generative method averages.

    Raises:
        ValueError: an option has an invalid value.
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
        """Name of the recorded sequence of an item; all cameras of a sequence share it."""
        return self.names[item].rsplit("/", 1)[0]

    def identity(self) -> dict[str, Any]:
        """JSON object with the settings that determine the items."""
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
        """Skeleton that methods lift."""
        return self.skeleton or self.clip(self.items[0]).skeleton

    @cached_property
    def shown(self) -> Skeleton:
        """Skeleton of the observed 2D: joints or detector keypoints, from which the lifted joints are derived."""
        return self._seen_clip(self.clip(self.items[0])).skeleton

    @property
    def joint_notes(self) -> list[str]:
        """Notes for the card where observed, lifted and scored joints differ."""
        own, scored = self.source[self.items[0]].skeleton, self.clip(self.items[0]).skeleton
        notes: list[str] = []
        if own.name != scored.name:
            notes.append(f"Scored over {scored.num_joints} joints ('{scored.name}'); the set has {own.num_joints}.")
        if self.shown.name != self.lifted.name and self.lifted.name in SMPL:
            notes.append(
                f"Every method gets '{self.lifted.name}' joints derived from '{self.shown.name}' keypoints: limbs are "
                "copied, torso and head are interpolated from hips, shoulders and ears with a confidence of at most "
                "0.5, and feet are missing."
            )
        if self.lifted.name != scored.name:
            notes.append(
                f"'{self.lifted.name}' joints are lifted and turned into '{scored.name}' for scoring: face and hips "
                "are placed by a fixed body in the frames of head and pelvis. This is part of every error."
            )
        return notes

    def choose(self, items: Iterable[int]) -> None:
        """Selects the items of the data loader."""
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
        """Seed of sample 0 of an item; sample k has this seed + k."""
        return mix_seed(self.seed, item) >> 1  # sample k has this seed + k

    def num_frames(self, index: int) -> int:
        """Number of frames of an item of the loader."""
        return int(self[index]["length"])

    def balance_weights(self, power: float) -> np.ndarray:
        """(N,) equal weights: a test visits every clip once."""
        return np.ones(len(self))

    @property
    def _draws_rigs(self) -> bool:
        return isinstance(self.source, StoreClips)

    def _clip(self, item: int) -> LiftingClip:
        """The clip with the scored joints."""
        clip = self.source[item]
        if self.skeleton is None or clip.skeleton.name == self.skeleton.name or _shows(clip.skeleton, self.skeleton):
            return clip
        try:
            return in_joints(clip, self.skeleton)
        except ValueError as error:
            raise ValueError(
                f"The clips of {self.set_name} show '{clip.skeleton.name}' joints and the method lifts "
                f"'{self.skeleton.name}'. Choose weights of a network that was trained for the joints of the clips, "
                f"or a method without a network ({error})"
            ) from error

    def _seen_clip(self, clip: LiftingClip) -> LiftingClip:
        """The clip with the observed joints or keypoints."""
        if self.keypoints is None or clip.skeleton.name == self.keypoints.name:
            return clip
        if clip.skeleton.name not in SMPL:
            raise ValueError(
                f"keypoints is '{self.keypoints.name}', but the clips of {self.set_name} already show "
                f"'{clip.skeleton.name}' keypoints. Remove the option keypoints."
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
        derived = as_joints(*seen, clip.skeleton, self.lifted)
        return Observation(*derived, rig, self.lifted)

    def _corrupted(
        self, clip: LiftingClip, kp2d: Tensor, conf: Tensor, camera: Rig, item: int, part: int
    ) -> tuple[Tensor, Tensor]:
        """2D (L, J, 2) and confidence (L, J) of a view after independent random errors."""
        known, size = conf > 0, camera.size[0]
        if self.corruption != NO_CORRUPTION:
            codec = BboxPose2DCodec(clip.skeleton)
            side = codec.box_side(codec.encode(kp2d, size, known), size)
            rng = ItemRandom.from_seed(mix_seed(self.set_seed, item, part))
            kp2d, visible = self.corruption.apply(kp2d, side, size, clip.skeleton, rng)
            conf = conf * visible
        return torch.where((conf > 0)[..., None], kp2d, 0.0), conf

    def _rig(self, clip: LiftingClip, kp2d: Tensor, conf: Tensor) -> Rig:
        """Rig of V0 and the other views."""
        rig = clip.rig.select([0])
        if self.views == "captured":
            rig = clip.rig.select(spread_views(clip.rig, self.num_views))
        if rig.num_views >= self.num_views:
            return rig
        try:
            place = feet_place(rig.select([0]), kp2d, conf > 0, clip.skeleton)
        except ValueError as error:
            logger.warning("%s: virtual cameras are placed around the default position: %s", clip.name, error)
            place = tuple(torch.tensor(x) for x in USUAL_PLACE)
        return complete(rig, self.num_views, float(place[0]), float(place[1]))


def in_joints(clip: LiftingClip, target: Skeleton) -> LiftingClip:
    """The clip with the joints of another skeleton, derived from its own. Raises ValueError with the joints that
    cannot be derived."""
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
    """A clip of SMPL joints, converted to exact detector keypoints. A frame is valid if all its joints are valid."""
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
    """Pixels (..., J, 2), 0 where missing, and confidence (..., J) of the lifted joints, derived from the observed
    ones."""
    if target.name == SMPL24.name and _shows(source, target):  # hands come from forearms
        (kp2d, conf), source = observed_joints(kp2d, conf, source, SMPL22), SMPL22
    return observed_joints(kp2d, conf, source, target)


def _shows(source: Skeleton, target: Skeleton) -> bool:
    """Whether the source are detector keypoints and the target SMPL joints."""
    return source.name in DETECTORS and target.name in SMPL


def spread_views(rig: Rig, num_views: int) -> list[int]:
    """Indices of V0 and of other cameras of a rig (N, ...), evenly spaced in the order of their yaw; at most
    `num_views`."""
    yaw = camera_angles(rig.T_w2c[:, :3, :3])[2] % (2 * torch.pi)
    others = sorted(range(1, rig.num_views), key=lambda v: float(yaw[v]))
    count = min(num_views - 1, len(others))
    return [0, *(others[(2 * k + 1) * len(others) // (2 * count)] for k in range(count))]
