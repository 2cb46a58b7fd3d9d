"""Initial guesses: motion that another method lifted from the same tracks, as start and conditioning of the sampling.

A regression method is accurate for visible joints but not for hidden ones. Sampling therefore starts from the guess
plus noise instead of pure noise, and every triangulated joint is moved towards the guess according to the certainty of
the guess. Samples start from different guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.methods.mocap2to3.values import MOTION
from hmr4d.motion.motion import MotionBatch
from hmr4d.motion.resampling import resampled_length
from hmr4d.motion.tracks import MIN_FRAMES, reflected_frames, resample_motion

# Assumed error of sampled joints, meters. Measured without a guess: 0.1 m, and 0.25 m for hidden joints; smaller values
# made all guesses worse (docs/results_lifting.md).
OWN_ERROR = 0.3
UNCERTAINTY = (
    "sigma",
    "sigma_along",
    "sigma_across",
    "uncertainty",
)  # entries of `extras` that are copied from the guess


@dataclass(frozen=True)
class Guess:
    """Initial guess of the motion at the frame rate of the network.

    Attributes:
        joints3d: (B, L, J, 3) meters, world.
        trust: (B, L, J) in [0, 1], weight of the guess in its mean with sampled joints.
    """

    joints3d: Tensor
    trust: Tensor

    def cut(self, rows: Tensor, start: int, window: int) -> Guess:
        """A window of selected items, with the frames of `Track.cut`."""
        return Guess(self.joints3d[rows, start : start + window], self.trust[rows, start : start + window])

    def to(self, device: torch.device) -> Guess:
        """The guess on another device."""
        return Guess(self.joints3d.to(device), self.trust.to(device))

    def led(self, joints3d: Tensor) -> Tensor:
        """Motion (B, L, J, 3) moved towards the guess by `trust`."""
        return joints3d + self.trust[..., None] * (self.joints3d - joints3d)


def check_guess(guess: MotionBatch, lengths: Tensor, rate: float, num_joints: int) -> None:
    """Raises ValueError unless number, lengths, rate and joints of a guess match the tracks and it has "sigma"."""
    wrong = []
    if guess.joints3d is None or guess.joints3d.shape[2] != num_joints:
        wrong.append(f"joints3d of {num_joints} joints")
    if guess.lengths.tolist() != lengths.tolist():
        wrong.append(f"lengths of {lengths.tolist()} instead of {guess.lengths.tolist()}")
    if abs(guess.fps - rate) > 1e-3 * rate:
        wrong.append(f"{rate:g} frames per second instead of {guess.fps:g}")
    if "sigma" not in guess.extras:
        wrong.append('"sigma" among its extras, meters for each joint')
    if wrong:
        raise ValueError(f"The guess does not match the tracks; expected {' and '.join(wrong)}.")


def sampled_guess(guess: MotionBatch, jobs: list[tuple[int, int]], rate: float, fps: float) -> Guess:
    """The guesses from which samples start.

    Args:
        guess: guess of the tracks at `rate`; with several samples, its extras contain "samples" (B, K, L, J, 3).
        jobs: (track, sample) pairs; sample MOTION is the motion of the guess.
        rate, fps: frame rates of the tracks and of the network.
    """
    assert guess.joints3d is not None
    motions, trusts = [], []
    for row, sample in jobs:
        length = int(guess.lengths[row])
        joints3d, sigma = guess.joints3d[row, :length], guess.extras["sigma"][row, :length]
        if sample != MOTION and "samples" in guess.extras:
            samples = guess.extras["samples"][row]
            joints3d = samples[sample % len(samples), :length]
        own = resampled_length(length, rate, fps)
        place = reflected_frames(torch.tensor([own]), own)[0]
        trust = OWN_ERROR**2 / (OWN_ERROR**2 + sigma.square())
        motions.append(resample_motion(joints3d[None], rate, fps, own)[0, place])
        trusts.append(resample_motion(trust[None, ..., None], rate, fps, own)[0, place, :, 0].clamp(0, 1))
    pad = torch.nn.utils.rnn.pad_sequence
    longest = max(len(motion) for motion in motions)
    assert longest >= MIN_FRAMES
    return Guess(pad(motions, batch_first=True), pad(trusts, batch_first=True))
