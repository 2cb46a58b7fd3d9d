"""Training windows with lengths independent of their content.

In motion data a raised hand lasts 2.5 seconds and a walk 8, and a network that sees the number of frames learns that
instead of the text. Here the length is drawn first, independent of the clip. The clip is then cut or extended: it
repeats a part if it returns to a pose, or its last still pose is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.cameras import invert_rigid, world_to_camera
from hmr4d.motion.canonical import facing_transform
from hmr4d.motion.resampling import resample_positions
from hmr4d.utils.randomness import ItemRandom, mix_seed

BLEND_SECONDS = 0.25  # blending time between repetitions of a loop
LOOP_SECONDS = 0.6  # shortest repeated section
LOOP_DISTANCE = 0.10  # meters; root mean square over joints of pose and velocity, at the ends of a loop
VELOCITY_SECONDS = 0.15  # time by which velocities are multiplied in the distance
STILL_SPEED = 0.25  # meters per second; mean over the joints of a pose that can be held
STILL_SECONDS = 0.4
TRAVEL_SPEED = 0.5  # meters per second of the root; faster motion does not stop immediately
ACTIVITY_POWER = 6.0  # exponent: windows with more movement are more likely


@dataclass(frozen=True)
class FreeWindows:
    """Draws the length of a window and fits a clip to it.

    Attributes:
        min_seconds, max_seconds: lengths are uniform between them.
        tempo: clips are played faster or slower by up to this factor, drawn uniformly in its logarithm.
        skeleton: skeleton of the joints.
    """

    min_seconds: float = 1.5
    max_seconds: float = 9.8
    tempo: float = 1.15
    skeleton: Skeleton = SMPL22
    _loops: dict[int, tuple[float, float] | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.min_seconds <= self.max_seconds:
            raise ValueError(
                f"Window lengths from {self.min_seconds} to {self.max_seconds} seconds; give 0 < min <= max."
            )
        if not 1.0 <= self.tempo <= 2.0:
            raise ValueError(f"tempo is {self.tempo}; give a factor from 1 to 2.")

    def num_frames(self, seed: int, fps: float) -> int:
        """Frames of the window of an item, determined only by this seed."""
        share = float(ItemRandom.from_seed(mix_seed(seed, 2)).uniform(1))
        return round((self.min_seconds + share * (self.max_seconds - self.min_seconds)) * fps)

    def fit(self, joints3d: Tensor, num_frames: int, *, fps: float, rng: ItemRandom, clip: int) -> Tensor:
        """The clip as `num_frames` frames, or fewer if it can neither repeat nor hold.

        Args:
            joints3d: (L, J, 3) meters, y up.
            num_frames: frames of the window. fps: frames per second. rng: draws tempo, position and type of extension.
                clip: number of the clip; its loop is cached.

        Returns:
            (num_frames or fewer, J, 3).
        """
        loop = self._loop(joints3d, fps, clip)
        factor = float(self.tempo ** (2.0 * rng.uniform(1) - 1.0))
        longer = len(joints3d) > num_frames
        if self.tempo > 1.0 and len(joints3d) > 3:  # short windows are faster, long ones slower
            factor = 1.0 / max(factor, 1.0 / factor) if longer else max(factor, 1.0 / factor)
            wanted = max(round(len(joints3d) * factor), 4)
            joints3d = _stretch(joints3d, max(wanted, num_frames) if longer else min(wanted, num_frames))
        if len(joints3d) >= num_frames:
            return _active_window(joints3d, num_frames, rng)
        return self._go_on(joints3d, num_frames, fps, rng, loop)

    def _go_on(
        self, joints3d: Tensor, num_frames: int, fps: float, rng: ItemRandom, loop: tuple[float, float] | None
    ) -> Tensor:
        first = int(float(rng.uniform(1)) * (num_frames - len(joints3d)))
        prefers_hold = float(rng.uniform(1)) < 0.5
        root_speed = float((joints3d[1:, 0] - joints3d[:-1, 0]).norm(dim=-1).mean()) * fps
        still_end, still_start = is_still(joints3d, fps), is_still(joints3d.flip(0), fps)
        if loop is not None and not (prefers_hold and still_end and root_speed < TRAVEL_SPEED):
            i, j = (round(place * (len(joints3d) - 1)) for place in loop)
            repeated = repeat_loop(joints3d, (i, j), num_frames, fps=fps, skeleton=self.skeleton)
            return _active_window(repeated, num_frames, rng)
        if still_start and still_end:
            joints3d = hold_end(joints3d.flip(0), len(joints3d) + first, fps=fps).flip(0)
        elif still_start and not still_end:
            return hold_end(joints3d.flip(0), num_frames, fps=fps).flip(0)
        return hold_end(joints3d, num_frames, fps=fps) if still_end else joints3d

    def _loop(self, joints3d: Tensor, fps: float, clip: int) -> tuple[float, float] | None:
        """The ends of the loop of a clip as shares of its duration, searched once."""
        if clip not in self._loops:
            found = find_loop(joints3d, fps=fps, skeleton=self.skeleton)
            last = max(len(joints3d) - 1, 1)
            self._loops[clip] = None if found is None else (found[0] / last, found[1] / last)
        return self._loops[clip]


def find_loop(joints3d: Tensor, *, fps: float, skeleton: Skeleton = SMPL22) -> tuple[int, int] | None:
    """Frames (i, j), i < j, of a clip (L, J, 3) with the same pose up to heading, or None.

    After frame j the clip may continue from frame i. Among the pairs that are near enough, the one with the most
    movement between them is used, so that an action is repeated rather than a pose.
    """
    blend, shortest = round(BLEND_SECONDS * fps), round(LOOP_SECONDS * fps)
    count = len(joints3d)
    if count < blend + shortest + 1:
        return None
    T = facing_transform(joints3d, skeleton)
    poses = world_to_camera(joints3d, T)  # heights stay
    steps = torch.diff(joints3d, dim=0, append=joints3d[-1:])
    steps[-1] = steps[-2]
    velocities = (steps @ T[:, :3, :3].transpose(-1, -2)) * (fps * VELOCITY_SECONDS)
    features = torch.cat([poses, velocities], -1).flatten(1)
    distances = torch.cdist(features, features) / joints3d.shape[1] ** 0.5
    frames = torch.arange(count)
    gaps = frames[None, :] - frames[:, None]
    moved = torch.cat([steps.new_zeros(1), steps[:-1].norm(dim=-1).mean(-1).cumsum(0)])
    activity = (moved[None, :] - moved[:, None]) / moved[-1].clamp(min=1e-6)
    cost = 0.5 * distances / LOOP_DISTANCE - activity
    cost[(gaps < shortest) | (frames[:, None] < blend) | (distances > LOOP_DISTANCE)] = torch.inf
    best = int(cost.argmin())
    i, j = divmod(best, count)
    return (i, j) if bool(torch.isfinite(cost[i, j])) else None


def repeat_loop(
    joints3d: Tensor, loop: tuple[int, int], num_frames: int, *, fps: float, skeleton: Skeleton = SMPL22
) -> Tensor:
    """The clip (L, J, 3) up to frame j, from i to j again and again, and then its rest: `num_frames` or more.

    Repetitions and rest are turned and moved to where the person is. The rest is kept since the action may be in it: a
    person who gets up sits nearly still before, and only the sitting can be repeated.
    """
    i, j = loop
    blend = min(round(BLEND_SECONDS * fps), i, j - i)
    parts = joints3d[: j + 1]
    weights = torch.linspace(0.0, 1.0, blend + 2)[1:-1].to(joints3d)[:, None, None]
    weights = weights * weights * (3.0 - 2.0 * weights)
    passage = joints3d[i - blend + 1 : j + 1]
    rest = joints3d[j + 1 :]

    def moved_on(section: Tensor, first: int) -> Tensor:
        """A section of the clip where its frame `first` meets the last frame of `parts`."""
        there = invert_rigid(facing_transform(parts[-1], skeleton))
        return world_to_camera(section, there @ facing_transform(joints3d[first], skeleton))

    while len(parts) + len(rest) < num_frames:
        moved = moved_on(passage, i)
        mixed = parts[-blend:] * (1.0 - weights) + moved[:blend] * weights
        parts = torch.cat([parts[:-blend], mixed, moved[blend:]])
    return torch.cat([parts, moved_on(rest, j)]) if len(rest) else parts


def is_still(joints3d: Tensor, fps: float) -> bool:
    """Whether the end of a clip (L, J, 3) is a pose that can be held."""
    last = joints3d[-max(round(STILL_SECONDS * fps), 2) :]
    return bool((last[1:] - last[:-1]).norm(dim=-1).mean() * fps < STILL_SPEED)


def hold_end(joints3d: Tensor, num_frames: int, *, fps: float) -> Tensor:
    """The clip (L, J, 3) with its last still moments played back and forth until there are `num_frames`."""
    if len(joints3d) >= num_frames:
        return joints3d
    count = min(max(round(STILL_SECONDS * fps), 2), len(joints3d))
    around = 2 * (count - 1)
    back = torch.arange(1, num_frames - len(joints3d) + 1) % around
    back = torch.minimum(back, around - back)
    return torch.cat([joints3d, joints3d[len(joints3d) - 1 - back]])


def _active_window(joints3d: Tensor, num_frames: int, rng: ItemRandom) -> Tensor:
    """`num_frames` frames of a clip (L, J, 3); positions with more movement are more likely."""
    if len(joints3d) == num_frames:
        return joints3d
    speed = (joints3d[1:] - joints3d[:-1]).norm(dim=-1).mean(-1)
    summed = torch.cat([speed.new_zeros(1), speed.cumsum(0)])
    activity = summed[num_frames - 1 :] - summed[: len(summed) - num_frames + 1]
    chances = ((activity + 1e-6) / (activity.max() + 1e-6)) ** ACTIVITY_POWER
    start = int(torch.multinomial(chances, 1, generator=rng.tensors))
    return joints3d[start : start + num_frames]


def _stretch(joints3d: Tensor, num_frames: int) -> Tensor:
    """(L, J, 3) -> (num_frames, J, 3) over the same time, by a cubic spline."""
    if num_frames == len(joints3d):
        return joints3d
    source = joints3d.numpy()
    rate = (num_frames - 1 + 1e-3) / (len(source) - 1)
    return torch.from_numpy(resample_positions(source, 1.0, rate)[:num_frames]).to(joints3d.dtype)
