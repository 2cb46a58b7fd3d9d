"""Sampling from a reference motion: its views in the cameras, and the diffusion step at which it enters.

Noise is added to the reference, which is then denoised with a text; details that the noise does not hide remain. This
is SDEdit (Meng et al., ICLR 2022, arXiv 2108.01073) on the 2D views of a 3D motion.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.joint_checks import check_bones
from hmr4d.body.skeleton import SMPL22
from hmr4d.diffusion.schedule import from_step
from hmr4d.metrics.physical import to_neutral_height
from hmr4d.motion.canonical import face_first_frame
from hmr4d.motion.motion import Motion
from hmr4d.motion.tracks import resample_motion
from hmr4d.representation.root_velocity import to_root_velocity

logger = logging.getLogger(__name__)

PATH_SECONDS = 1.0  # over which a person keeps a velocity
_LEGS = [SMPL22.index(f"{side}_{name}") for side in ("left", "right") for name in ("hip", "knee", "ankle", "foot")]
_POINTS = [*(joint - 1 for joint in _LEGS), SMPL22.num_joints - 1]  # without the root; the next root is the last one
_PATH = [2 * point + axis for point in _POINTS for axis in (0, 1)]  # columns of the features


@dataclass(frozen=True)
class ReferenceStart:
    """The start of sampling from a reference.

    Attributes:
        local: (B, L, P, 3) reference in the root frame, root first and next root last, box units.
        strength: amount of regeneration, above 0 and at most 1. Sampling starts at the fraction
            1 - (1 - strength)^3 of the noise steps, whatever steps are visited. The noisiest steps determine the
            action, so a linear fraction would have little effect below 0.8.
    """

    local: Tensor
    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(
                f"strength is {self.strength:g}; give a number above 0 (close to the reference) and at most 1 (only "
                "the text)."
            )

    def steps(self, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The last of the given steps (pairs of `NoiseSchedule.steps`), from the noise step of this strength on."""
        share = 1.0 - (1.0 - self.strength) ** 3
        return from_step(steps, round(share * steps[0][0]))


def path_weight(level: float, fps: float) -> float:
    """How much of the path of a reference is kept when sampling begins at a signal variance `level`.

    The steps of the root are too small to be seen in one noisy frame, so that the text decides them and the path is
    lost before the pose. What the start tells about a path is its mean over PATH_SECONDS, n frames: of unit variance,
    in noise of variance (1 - level) / (level n). This is the weight of the best linear estimate of it.
    """
    seen = level * PATH_SECONDS * fps
    return seen / (seen + 1.0 - level)


def with_path(x_0: Tensor, *, reference: Tensor, weight: float) -> Tensor:
    """Features (..., 44) whose path and legs are moved toward those of the reference by `weight`, 0 to 1.

    Path and legs change together: a path without its steps makes the feet slide, and the cleaning of the motion would
    remove it again.
    """
    result = x_0.clone()
    result[..., _PATH] = torch.lerp(x_0[..., _PATH], reference[..., _PATH], weight)
    return result


def reference_local(
    reference: Motion,
    *,
    fps: float,
    seconds: float | None,
    min_seconds: float,
    max_seconds: float,
    meters_per_unit: float,
) -> Tensor:
    """A reference in the representation of the network: (1, L, P, 3) in the root frame, box units.

    Like training motion, it is resampled, scaled to the neutral body height and rotated to face +z in its first frame.

    Args:
        reference: motion with the 22 joints of SMPL.
        fps: frame rate of the network.
        seconds: used duration from its beginning; None: all, up to `max_seconds`.
        min_seconds, max_seconds: range of durations of the network.
        meters_per_unit: meters of one box unit.

    Raises:
        ValueError: the reference has other joints, values that are not finite, bones of no length, or is too short.
    """
    if reference.skeleton.joint_names != SMPL22.joint_names:
        raise ValueError(f"The reference has the joints of '{reference.skeleton.name}'; expected the 22 of 'smpl22'.")
    check_bones(reference.joints3d, reference.skeleton)
    joints3d = torch.from_numpy(reference.array())
    if seconds is None and reference.seconds < min_seconds - 0.5 / fps:
        raise ValueError(
            f"The reference lasts {reference.seconds:.2f} s; this model generates {min_seconds:g} to {max_seconds:g} "
            "s. Give a longer reference."
        )
    if seconds is not None and seconds > reference.seconds + 0.5 / fps:
        raise ValueError(
            f"The reference lasts {reference.seconds:.2f} s, less than the requested {seconds:g} s. Request less, or "
            "omit the duration."
        )
    if seconds is None and reference.seconds > max_seconds:
        logger.warning("The reference lasts %.1f s; its first %.1f s are used.", reference.seconds, max_seconds)
    duration = min(max(reference.seconds, min_seconds), max_seconds) if seconds is None else seconds
    frames = max(round(duration * fps), 1)
    joints3d = resample_motion(joints3d[None], reference.fps, fps, frames)
    joints3d = to_neutral_height(joints3d, torch.tensor([joints3d.shape[1]]))
    return to_root_velocity(face_first_frame(joints3d)) / meters_per_unit
