"""Files of reference motions, written by torch.save: a dict {motion, extrinsic, intrinsic} or a bare tensor."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.pose import Pose
from hmr4d.geometry.cameras import rigid
from hmr4d.geometry.published_rotations import rot6d_block_to_matrix
from hmr4d.motion.motion import Motion, Provenance, checked_fps
from hmr4d.reference_motion.rest_joints import smplx_pelvis
from hmr4d.reference_motion.video_camera import LEFT_UP_TO_OPENCV, Z_UP_TO_Y_UP, VideoCamera
from hmr4d.representation.rep276 import FPS, SLICES, checked_features, decode, rest_joints
from hmr4d.utils.files import atomic_path
from hmr4d.utils.safe_pickle import load_arrays_pickle

LEAST_AREA = 1e-3  # smallest area spanned by the two columns of a rotation; 1 for exact rotations


@dataclass(frozen=True, eq=False)
class ReferenceMotion:
    """A reference motion.

    Attributes:
        features: (N, 276) float32, see `representation.rep276`.
        fps: frames per second.
        extrinsic: (N, 9) camera rows, see `convert.extrinsic_rows`; None: no camera.
        intrinsic: (3, 3) intrinsics of the camera in pixels; None: unknown.
        rest: (22, 3) rest joints of the body, meters; None: estimated from the features on demand.
        text: description of the motion; empty if unknown.
        provenance: origin of the motion.
    """

    features: Tensor
    fps: float = FPS
    extrinsic: Tensor | None = None
    intrinsic: Tensor | None = None
    rest: Tensor | None = None
    text: str = ""
    provenance: Provenance = Provenance()

    @property
    def rest_joints(self) -> Tensor:
        """Rest joints (22, 3) of the body, meters."""
        return rest_joints(self.features, smplx_pelvis()) if self.rest is None else self.rest

    @property
    def camera(self) -> VideoCamera | None:
        """The camera in the world of `motion`; None if there is none."""
        if self.extrinsic is None:
            return None
        R_c, flip = rot6d_block_to_matrix(self.extrinsic[:, :6]), self.extrinsic.new_tensor(LEFT_UP_TO_OPENCV)
        T_z2c = rigid(flip[:, None] * R_c.mT, flip * self.extrinsic[:, 6:])
        T_z2y = rigid(torch.tensor(Z_UP_TO_Y_UP).to(T_z2c), T_z2c.new_zeros(3))
        size = None
        if self.intrinsic is not None:
            size = (int(2 * self.intrinsic[0, 2]), int(2 * self.intrinsic[1, 2]))
        return VideoCamera(T_z2c @ T_z2y, self.intrinsic, size)

    def motion(self, *, from_velocities: bool = False, extra_frame: bool = False) -> Motion:
        """The motion with its pose, y up and facing +z in the first frame; arguments as for `rep276.decode`.

        Joints come from rotations and translation, not from the redundant joint features.
        """
        body = decode(self.features.double(), from_velocities=from_velocities, extra_frame=extra_frame)
        R, rest = torch.tensor(Z_UP_TO_Y_UP).double(), self.rest_joints.double()
        rotations = torch.cat([(R @ body.rotations[:, 0])[:, None], body.rotations[:, 1:]], 1)
        translation = (body.translation + smplx_pelvis()) @ R.mT - rest[0]
        pose = Pose("smplx", rotations.float(), translation.float(), rest.float())
        return Motion(pose.joints(), self.fps, text=self.text, pose=pose, provenance=self.provenance)


def save_reference(path: str | Path, reference: ReferenceMotion) -> None:
    """Writes a reference motion atomically in the published format, with additional keys that published readers ignore.

    Unknown intrinsics are written as the identity, as the published converter does.
    """
    content: dict[str, Any] = {"motion": reference.features.float().cpu().contiguous(), "fps": float(reference.fps)}
    if reference.extrinsic is not None:
        intrinsic = torch.eye(3) if reference.intrinsic is None else reference.intrinsic
        content |= {"extrinsic": reference.extrinsic.float().contiguous(), "intrinsic": intrinsic.float().contiguous()}
    if reference.rest is not None:
        content["rest_joints"] = reference.rest.float().contiguous()
    content |= {"text": reference.text, "metadata": json.dumps(reference.provenance.metadata(), ensure_ascii=False)}
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_reference(path: str | Path, *, fps: float | None = None) -> ReferenceMotion:
    """Reads a reference motion: a dict, a bare tensor, or an array in an .npy file; 276 or 426 wide.

    Args:
        path: the file.
        fps: frame rate of files without one; None: FPS.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, has another format or is not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Reference motion not found: {path}. Check the path.")
    try:
        content = np.load(path, allow_pickle=False) if path.suffix == ".npy" else load_arrays_pickle(path)
        return reference_of(content, fps=fps)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_reference(content: Any) -> bool:
    """Whether the content of a file is a reference motion."""
    if isinstance(content, dict):
        return "motion" in content
    return isinstance(content, Tensor | np.ndarray) and content.ndim == 2 and content.shape[-1] in (276, 426)


def _check_rotations(features: Tensor) -> None:
    """Raises ValueError if six numbers of a row (N, 276) form no rotation: zero or parallel columns."""
    blocks = torch.cat([features[:, SLICES["body_pose"]], features[:, SLICES["root_rotation"]]], 1)
    first, second = blocks.double().reshape(len(blocks), -1, 3, 2).unbind(-1)
    area = torch.linalg.cross(first, second).norm(dim=-1)
    if bool((wrong := area < LEAST_AREA).any()):
        row, joint = (int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"'motion' has no rotation in row {row} (the {joint + 1}. of {area.shape[1]} blocks of six numbers is "
            "zero or degenerate). The row may be zero padding or have another layout. Convert the source again."
        )


def reference_of(content: Any, *, fps: float | None = None) -> ReferenceMotion:
    """The reference motion in the content of a file, see `load_reference`. Raises ValueError for other content."""
    held = content if isinstance(content, dict) else {"motion": content}
    if not is_reference(content):
        keys = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"Not a reference motion: the file contains {keys or 'nothing'}; expected 'motion' of shape (N, 276)."
        )
    features = checked_features(_tensor("motion", held["motion"]))
    if not features.isfinite().all():
        row = int((~features.isfinite()).any(-1).nonzero()[0])
        raise ValueError(f"'motion' is not finite in row {row}. Convert the source again.")
    extrinsic, intrinsic = (_optional(name, held) for name in ("extrinsic", "intrinsic"))
    if extrinsic is not None and tuple(extrinsic.shape) != (len(features), 9):
        raise ValueError(f"'extrinsic' has shape {tuple(extrinsic.shape)}; expected ({len(features)}, 9).")
    if intrinsic is not None and tuple(intrinsic.shape) != (3, 3):
        raise ValueError(f"'intrinsic' has shape {tuple(intrinsic.shape)}; expected (3, 3).")
    if intrinsic is not None and torch.equal(intrinsic, torch.eye(3)):
        intrinsic = None  # the published converter marks unknown intrinsics so
    if intrinsic is not None and not bool(
        (intrinsic[[0, 1, 0, 1], [0, 1, 2, 2]] > 0).all() and intrinsic.isfinite().all()
    ):
        raise ValueError(f"'intrinsic' is {intrinsic.tolist()}; expected focal lengths and principal point.")
    if extrinsic is not None and not extrinsic.isfinite().all():
        raise ValueError("'extrinsic' is not finite. Convert the source again, or remove the camera.")
    rest = _optional("rest_joints", held)
    metadata = json.loads(str(held.get("metadata", "{}")))
    rate = _rate(held.get("fps"), fps)
    _check_rotations(features)
    return ReferenceMotion(
        features,
        rate,
        extrinsic,
        intrinsic,
        rest,
        str(held.get("text", "")),
        Provenance.from_metadata(metadata if isinstance(metadata, dict) else {}),
    )


def _rate(value: Any, given: float | None) -> float:
    """Frame rate of the file, else the given one, else the default. Raises ValueError for an invalid number."""
    try:
        return checked_fps((given or FPS) if value is None else value)
    except TypeError as error:
        raise ValueError(f"'fps' is {type(value).__name__}; expected frames per second.") from error


def _optional(name: str, held: dict[str, Any]) -> Tensor | None:
    return _tensor(name, held[name]) if held.get(name) is not None else None


def _tensor(name: str, value: Any) -> Tensor:
    """Numbers as a float32 tensor. Raises ValueError for other values."""
    try:
        return torch.as_tensor(value).detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"'{name}' contains no numbers ({error}).") from error
