"""The motion: one value that pipelines return and that every writer, viewer, metric and fitter takes; and its batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.joint_checks import check_finite
from hmr4d.body.joint_conventions import convention_metadata, convention_of_motion
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.rigs import Rig

CAMERA = "camera"  # in a provenance: the level camera along -z that the model saw the motion by, see `told_camera`


@dataclass(frozen=True)
class Provenance:
    """Where a motion comes from; every file that is made of it says so.

    Attributes:
        model: name of the model that made it.
        licence: of the motion.
        seed: it was drawn with.
        command: what was typed to make it.
        more: further entries that JSON can hold, by name.
    """

    model: str | None = None
    licence: str | None = None
    seed: int | None = None
    command: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """All entries that are known, as one JSON object."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "more"}
        return {name: value for name, value in named.items() if value is not None} | dict(self.more)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Provenance:
        """The provenance that a JSON object tells; `metadata()` gives the object back."""
        kinds: dict[str, type] = {"model": str, "licence": str, "seed": int, "command": str}
        known = {name: metadata[name] for name, kind in kinds.items() if type(metadata.get(name)) is kind}
        return cls(**known, more={name: value for name, value in metadata.items() if name not in known})

    def updated(self, **entries: Any) -> Provenance:
        """The same with other entries, new or in place of old ones."""
        return self.from_metadata({**self.metadata(), **entries})


@dataclass(frozen=True, eq=False)
class Views2D:
    """A motion as cameras see it.

    Attributes:
        joints2d: (V, L, J, 2), x to the right and y down; pixels where there is a rig, else any unit that the views
            have in common.
        conf: (V, L, J) confidence in [0, 1]; None: not known.
        rig: the V cameras, in the world of the motion; None: not known, or in another world.
        names: of the views; empty: none.
    """

    joints2d: Tensor
    conf: Tensor | None = None
    rig: Rig | None = None
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        """ValueError for shapes that do not belong together."""
        shape = tuple(self.joints2d.shape)
        if len(shape) != 4 or shape[-1] != 2 or not shape[0]:
            raise ValueError(f"joints2d has shape {shape}; expected (V, L, J, 2), at least one view.")
        if self.conf is not None and tuple(self.conf.shape) != shape[:3]:
            raise ValueError(f"conf has shape {tuple(self.conf.shape)}; expected {shape[:3]} as joints2d has.")
        if self.rig is not None and tuple(self.rig.K4.shape) != (shape[0], 4):
            raise ValueError(f"The rig has K4 of shape {tuple(self.rig.K4.shape)}; expected one camera for {shape[0]}.")
        if len(self.names) not in (0, shape[0]):
            raise ValueError(f"There are {len(self.names)} names for {shape[0]} views; give one for each.")


@dataclass(frozen=True, eq=False)
class Motion:
    """One person's motion. Immutable; `dataclasses.replace` makes others of it.

    Attributes:
        joints3d: (L, J, 3) metres, world, y up; a NumPy array becomes a tensor, float32.
        fps: frames per second.
        skeleton: joint meaning of axis J.
        text: what the motion shows; empty when unknown.
        joint_convention: where the joints are in the body, see `joint_conventions`; None: where the bodies have them.
            An unknown name is refused by what uses it.
        pose: rotations of these joints, where they are known; writers then use them instead of solving for rotations.
        views: what cameras see of it.
        uncertainty: (L, J) metres, size of the error that is to be expected; None: nothing is known of it.
        provenance: where it comes from.

    Raises:
        ValueError: shapes that do not belong together, no frame, or a frame rate that is none. Numbers that are not
            finite are refused by what uses them, see `array`.
    """

    joints3d: Tensor
    fps: float
    skeleton: Skeleton = SMPL22
    text: str = ""
    joint_convention: str | None = None
    pose: Pose | None = None
    views: Views2D | None = None
    uncertainty: Tensor | None = None
    provenance: Provenance = Provenance()

    def __post_init__(self) -> None:
        if not isinstance(self.joints3d, Tensor):
            object.__setattr__(self, "joints3d", joints_tensor(self.joints3d))
        object.__setattr__(self, "fps", checked_fps(self.fps))
        check_joints_shape(self.joints3d, self.skeleton)
        shape = tuple(self.joints3d.shape[:2])
        given: dict[str, tuple[int, ...]] = {}
        if self.pose is not None:
            given["pose.rotations"] = tuple(self.pose.rotations.shape[:2])
        if self.views is not None:
            given["views.joints2d"] = tuple(self.views.joints2d.shape[1:3])
        if self.uncertainty is not None:
            given["uncertainty"] = tuple(self.uncertainty.shape)
        for name, found in given.items():
            if found != shape:
                raise ValueError(f"{name} is of (frames, joints) {found}, but joints3d of {shape}. Give one for each.")

    @property
    def num_frames(self) -> int:
        return len(self.joints3d)

    @property
    def seconds(self) -> float:
        return self.num_frames / self.fps

    @property
    def metadata(self) -> dict[str, Any]:
        """What files keep beside the motion: its provenance and the name of its convention, one JSON object."""
        return {**self.provenance.metadata(), **convention_metadata(self.joint_convention)}

    def array(self) -> NDArray[np.float32]:
        """(L, J, 3) joints for a writer or a viewer; ValueError names the first frame and joint that is not finite."""
        joints3d = self.joints3d.detach().to("cpu", torch.float32)
        check_finite(joints3d, self.skeleton)
        return joints3d.numpy()


@dataclass(frozen=True, eq=False)
class MotionBatch:
    """B motions of one skeleton, rate and origin. `batch[i]` is a `Motion` cut to its length; a batch can be iterated.

    Attributes:
        joints3d: (B, L, J, 3) metres, world, y up, zero beyond `lengths`. None where motion was drawn in 2D alone.
        lengths: (B,) int64 frames of each motion.
        fps: frames per second.
        text: B descriptions; empty: none is known.
        skeleton: joint meaning of axis J.
        joint_convention: of the joints, see `Motion`. Of several names with "+" between, each motion gets the one that
            its feet show, see `convention_of_motion`.
        joints2d: (B, V, L, J, 2) as in `Views2D`, or None.
        rig: (B, V, ...) the cameras that saw `joints2d`, in the world of the motions, or None.
        poses: one for each motion, or None.
        provenance: what is known of all motions, such as the model and the licence.
        seeds: of each motion; empty: unknown.
        facts: further provenance of each motion, entries that JSON can hold; empty: none.
        extras: what a method hands on beside the motions, such as its samples; its `sample` lists the keys.
    """

    joints3d: Tensor | None
    lengths: Tensor
    fps: float
    text: Sequence[str] = ()
    skeleton: Skeleton = SMPL22
    joint_convention: str | None = None
    joints2d: Tensor | None = None
    rig: Rig | None = None
    poses: Sequence[Pose] | None = None
    provenance: Provenance = Provenance()
    seeds: Sequence[int] = ()
    facts: Sequence[Mapping[str, Any]] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """ValueError when a field does not hold one value for each motion."""
        given = {
            "joints3d": self.joints3d,
            "text": self.text or None,
            "joints2d": self.joints2d,
            "poses": self.poses,
            "seeds": self.seeds or None,
            "facts": self.facts or None,
        }
        for name, value in given.items():
            if value is not None and len(value) != len(self):
                raise ValueError(f"{name} holds {len(value)} values for {len(self)} motions. Give one for each.")

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Motion]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Motion:
        """One motion; ValueError where motion was drawn in 2D alone."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"There is no motion {index} in a batch of {len(self)}.")
        if self.joints3d is None:
            raise ValueError("This batch holds 2D motion only; sample with a multi-view pipeline to get joints3d.")
        length = int(self.lengths[index])
        views = None
        if self.joints2d is not None:
            rig = None
            if self.rig is not None:
                rig = Rig(self.rig.size[index], self.rig.K4[index], self.rig.T_w2c[index])
            views = Views2D(self.joints2d[index, :, :length], rig=rig)
        seed = {"seed": self.seeds[index]} if self.seeds else {}
        joints3d = self.joints3d[index, :length]
        return Motion(
            joints3d,
            self.fps,
            self.skeleton,
            self.text[index] if self.text else "",
            convention_of_motion(self.joint_convention, joints3d, self.fps),
            pose=self.poses[index] if self.poses else None,
            views=views,
            provenance=replace(self.provenance, **seed).updated(**(self.facts[index] if self.facts else {})),
        )


def told_camera(size: Sequence[float], focal: float, center: Sequence[float]) -> dict[str, Any]:
    """The entry CAMERA of a provenance.

    Args:
        size: width and height of the image, pixels.
        focal: pixels; the principal point is the middle of the image.
        center: optical center (x, y, z) in the world of the motion, metres.
    """
    return {"size": [int(v) for v in size], "focal": float(focal), "center": [round(float(v), 6) for v in center]}


def joined_licences(*licences: str | None) -> str | None:
    """What has to be said of a motion that was made of several: their licences, each once; None where none is known."""
    known = (part for licence in licences if licence for part in licence.split("; "))
    return "; ".join(dict.fromkeys(known)) or None


def checked_fps(fps: float) -> float:
    """Frame rate as a float; ValueError unless it is finite and positive."""
    value = float(fps)
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"fps is {fps} but must be a positive number of frames per second.")
    return value


def check_joints_shape(joints3d: Tensor, skeleton: Skeleton) -> None:
    """ValueError unless joints are those of one motion (L, J, 3) of a skeleton, at least one frame of real numbers."""
    shape = tuple(joints3d.shape)
    if len(shape) != 3 or shape[-1] != 3:
        raise ValueError(f"joints3d has shape {shape} but one motion is (L, J, 3). Pass one motion at a time.")
    if joints3d.dtype is torch.bool or joints3d.is_complex():
        raise ValueError(f"joints3d has dtype {joints3d.dtype} but must hold real numbers. Pass metres as float32.")
    if shape[0] == 0:
        raise ValueError("joints3d has no frames but a motion needs at least one. Check the length it was cut to.")
    if shape[1] != skeleton.num_joints:
        raise ValueError(
            f"joints3d has {shape[1]} joints but skeleton '{skeleton.name}' has {skeleton.num_joints}. "
            "Select the joints or pass the matching skeleton."
        )


def joints_tensor(joints3d: Any) -> Tensor:
    """A copy of an array as a float32 tensor; ValueError for what holds no real numbers."""
    array = np.asarray(joints3d)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"joints3d has dtype {array.dtype} but must hold real numbers. Pass metres as float32.")
    return torch.from_numpy(np.array(array, np.float32))
