"""What another method has lifted of the same tracks, as a first guess of the motion and a hint to the network.

A regressor is right about joints that are seen, and knows little of those that are hidden. So the views are not drawn
from noise alone but from the guess, with noise on it, and every triangulated joint is led to where the guess has it as
far as the guess is sure of it. Samples begin from different guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.methods.mocap2to3.values import MOTION
from hmr4d.motion.motion import MotionBatch
from hmr4d.motion.resampling import resampled_length
from hmr4d.motion.tracks import MIN_FRAMES, reflected_frames, resample_motion

# Metres that drawn joints count as being off. Without a guess they are off by 0.1 m, and by 0.25 m where they are
# hidden; counted as less, they made every guess worse (docs/results_lifting.md).
OWN_ERROR = 0.3
UNCERTAINTY = ("sigma", "sigma_along", "sigma_across", "uncertainty")  # among the extras of a guess, handed on


@dataclass(frozen=True)
class Guess:
    """Motion that is near to the true one, at the rate of the network.

    Attributes:
        joints3d: (B, L, J, 3) metres, world.
        trust: (B, L, J) in [0, 1], its share where it and what is drawn differ.
    """

    joints3d: Tensor
    trust: Tensor

    def cut(self, rows: Tensor, start: int, window: int) -> Guess:
        """A window of some items, in the frames of `Track.cut`."""
        return Guess(self.joints3d[rows, start : start + window], self.trust[rows, start : start + window])

    def to(self, device: torch.device) -> Guess:
        """The same on a device."""
        return Guess(self.joints3d.to(device), self.trust.to(device))

    def led(self, joints3d: Tensor) -> Tensor:
        """Motion (B, L, J, 3) led to the guess."""
        return joints3d + self.trust[..., None] * (self.joints3d - joints3d)


def check_guess(guess: MotionBatch, lengths: Tensor, rate: float, num_joints: int) -> None:
    """ValueError unless a guess is of the tracks: as many, as long, of the same rate and joints, and says how sure."""
    wrong = []
    if guess.joints3d is None or guess.joints3d.shape[2] != num_joints:
        wrong.append(f"joints3d of {num_joints} joints")
    if guess.lengths.tolist() != lengths.tolist():
        wrong.append(f"lengths of {lengths.tolist()} instead of {guess.lengths.tolist()}")
    if abs(guess.fps - rate) > 1e-3 * rate:
        wrong.append(f"{rate:g} frames per second instead of {guess.fps:g}")
    if "sigma" not in guess.extras:
        wrong.append('"sigma" among its extras, metres for each joint')
    if wrong:
        raise ValueError(f"The guess does not belong to these tracks; expected {' and '.join(wrong)}.")


def sampled_guess(guess: MotionBatch, jobs: list[tuple[int, int]], rate: float, fps: float) -> Guess:
    """The guesses that samples begin from.

    Args:
        guess: of the tracks at `rate`; of several samples, "samples" (B, K, L, J, 3) among its extras.
        jobs: (track, sample) of each; sample MOTION is the motion itself.
        rate, fps: frames per second of the tracks, and of the network.
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
