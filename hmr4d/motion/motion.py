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

CAMERA = "camera"  # in a provenance: the level camera along -z of the model's input, see `camera_metadata`


@dataclass(frozen=True)
class Provenance:
    """The origin of a motion; every file made from it contains it.

    Attributes:
        model: name of the generating model. licence: license of the motion. seed: seed of the sampling. command:
            command that made it.
        more: additional JSON entries by name.
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
        """The provenance from a JSON object, the inverse of `metadata()`."""
        kinds: dict[str, type] = {"model": str, "licence": str, "seed": int, "command": str}
        known = {name: metadata[name] for name, kind in kinds.items() if type(metadata.get(name)) is kind}
        return cls(**known, more={name: value for name, value in metadata.items() if name not in known})

    def updated(self, **entries: Any) -> Provenance:
        """A copy with additional or replaced entries."""
        return self.from_metadata({**self.metadata(), **entries})


@dataclass(frozen=True, eq=False)
class Views2D:
    """A motion as cameras see it.

    Attributes:
        joints2d: (V, L, J, 2), x to the right and y down; pixels if there is a rig, else any unit that the views share.
        conf: (V, L, J) confidence in [0, 1]; None: unknown. rig: the V cameras, in the world of the motion; None:
            unknown, or in another world. names: names of the views; may be empty.
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
    """One person's motion. Immutable; `dataclasses.replace` creates modified copies.

    Attributes:
        joints3d: (L, J, 3) meters, world, y up; a NumPy array becomes a tensor, float32.
        fps: frames per second.
        skeleton: joint meaning of axis J.
        text: description of the motion; empty if unknown.
        joint_convention: positions of the joints in the body, see `joint_conventions`; None: those of the bodies.
            Functions that use it refuse an unknown name.
        pose: rotations of these joints, if known; writers then use them instead of inverse kinematics.
        views: 2D views of it.
        uncertainty: (L, J) meters, expected error; None: unknown. provenance: origin of the motion.

    Raises:
        ValueError: inconsistent shapes, no frame, or an invalid frame rate. Functions that use the numbers refuse those
            that are not finite, see `array`.
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
        """Metadata of motion files: provenance and name of the convention as one JSON object."""
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
        joints3d: (B, L, J, 3) meters, world, y up, zero beyond `lengths`. None for motion generated only in 2D.
        lengths: (B,) int64 frames of each motion.
        fps: frames per second.
        text: B descriptions; may be empty.
        skeleton: joint meaning of axis J.
        joint_convention: of the joints, see `Motion`. Of several names with "+" between, each motion gets the one that
            its feet show, see `convention_of_motion`.
        joints2d: (B, V, L, J, 2) as in `Views2D`, or None.
        rig: (B, V, ...) the cameras of `joints2d`, in the world of the motions, or None.
        poses: one for each motion, or None.
        provenance: common provenance of all motions, such as model and license.
        seeds: of each motion; empty: unknown.
        more_provenance: additional provenance of each motion, JSON entries; empty: none.
        extras: additional results of a method, such as its samples; its `sample` documents the keys.
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
    more_provenance: Sequence[Mapping[str, Any]] = ()
    extras: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """ValueError if a field does not contain one value per motion."""
        given = {
            "joints3d": self.joints3d,
            "text": self.text or None,
            "joints2d": self.joints2d,
            "poses": self.poses,
            "seeds": self.seeds or None,
            "more_provenance": self.more_provenance or None,
        }
        for name, value in given.items():
            if value is not None and len(value) != len(self):
                raise ValueError(f"{name} has {len(value)} values for {len(self)} motions. Pass one for each.")

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Motion]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Motion:
        """One motion; ValueError for motion generated only in 2D."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"There is no motion {index} in a batch of {len(self)}.")
        if self.joints3d is None:
            raise ValueError("This batch contains only 2D motion; sample with a multi-view pipeline to get joints3d.")
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
            provenance=replace(self.provenance, **seed).updated(
                **(self.more_provenance[index] if self.more_provenance else {})
            ),
        )


def camera_metadata(size: Sequence[float], focal: float, center: Sequence[float]) -> dict[str, Any]:
    """The entry CAMERA of a provenance.

    Args:
        size: width and height of the image, pixels.
        focal: pixels; the principal point is the middle of the image.
        center: optical center (x, y, z) in the world of the motion, meters.
    """
    return {"size": [int(v) for v in size], "focal": float(focal), "center": [round(float(v), 6) for v in center]}


def joined_licences(*licences: str | None) -> str | None:
    """Licence of a motion derived from several: their licences, each once; None if none is known."""
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
        raise ValueError(f"joints3d has dtype {joints3d.dtype} but must hold real numbers. Pass meters as float32.")
    if shape[0] == 0:
        raise ValueError("joints3d has no frames but a motion needs at least one. Check the length it was cut to.")
    if shape[1] != skeleton.num_joints:
        raise ValueError(
            f"joints3d has {shape[1]} joints but skeleton '{skeleton.name}' has {skeleton.num_joints}. "
            "Select the joints or pass the matching skeleton."
        )


def joints_tensor(joints3d: Any) -> Tensor:
    """A copy of an array as a float32 tensor; ValueError for other types than real numbers."""
    array = np.asarray(joints3d)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"joints3d has dtype {array.dtype} but must hold real numbers. Pass meters as float32.")
    return torch.from_numpy(np.array(array, np.float32))
