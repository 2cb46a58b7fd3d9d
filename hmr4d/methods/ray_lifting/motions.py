"""Random windows of clips with varied speed, body size, proportions and foot height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.data.store import MotionStore, NoClipsError
from hmr4d.methods.ray_lifting.ray_frame import FEET

SHORTEST = 8  # frames; shorter clips are excluded
SUPPORT = 0.03  # meters; e-folding height above the lowest foot of the weight of a supporting foot
LOW, UNUSUAL = 0.05, 0.03  # quantile of foot heights; largest deviation from the median, meters
CONTACT_HEIGHT, CONTACT_SPEED = 0.05, 0.35  # limits of a standing foot: meters above its rest height, and m/s


@dataclass(frozen=True)
class MotionSource:
    """A source of clips.

    Attributes:
        store: folder of a motion store of SMPL-22 joints.
        share: relative frequency of draws from this source.
    """

    store: str
    share: float = 1.0


@dataclass(frozen=True)
class BodyVariety:
    """Variation of bodies; `limbs` and `bones` are standard deviations of the logarithm of lengths.

    Attributes:
        size: bounds of the scale of the whole body and its path.
        limbs: variation of arms, legs, torso and head relative to the body.
        bones: variation of single bones, equal for left and right.
        rest: variation of the height of standing feet relative to the assumed height, meters.
        speed: bounds of the playback speed.
    """

    size: tuple[float, float] = (0.8, 1.2)
    limbs: float = 0.05
    bones: float = 0.03
    rest: float = 0.006
    speed: tuple[float, float] = (0.75, 1.3)


_LEGS = SMPL22.indices("left_knee", "right_knee", "left_ankle", "right_ankle")
_ARMS = SMPL22.indices("left_elbow", "right_elbow", "left_wrist", "right_wrist")
_ACROSS = SMPL22.indices("left_hip", "right_hip", "left_collar", "right_collar", "left_shoulder", "right_shoulder")


class MotionWindows:
    """Draws batches of windows from all clips of several sources, which are kept in memory.

    Args:
        sources: sources of clips.
        split: split of every store.
        fps: frame rate of the windows.
        num_frames: frames per window; windows of shorter clips are padded with invalid frames.

    Raises:
        ValueError: a store has other joints or another frame rate.
    """

    def __init__(self, sources: Sequence[MotionSource], split: str, *, fps: float, num_frames: int) -> None:
        joints, starts, lengths, shares, rests = [], [], [], [], []
        offset = 0
        for source in sources:
            store = MotionStore.open(source.store)
            if store.skeleton.name != SMPL22.name or store.fps != fps:
                raise ValueError(
                    f"{source.store} has '{store.skeleton.name}' joints at {store.fps:g} fps; expected 'smpl22' at "
                    f"{fps:g}. Prepare the store accordingly (docs/data.md)."
                )
            clips = store.indices(split)
            frames = torch.as_tensor(store.lengths[clips])
            clips, frames = clips[frames.numpy() >= SHORTEST], frames[frames >= SHORTEST]
            if not len(clips):
                raise NoClipsError(f"{source.store} has no clip of {SHORTEST} frames in its split '{split}'.")
            joints += [torch.from_numpy(store.joints3d(int(i)).copy()).float() for i in clips]
            starts.append(offset + frames.cumsum(0) - frames)
            offset += int(frames.sum())
            lengths.append(frames)
            weight = frames.double().clamp(min=num_frames // 2).sqrt()
            shares.append(source.share * weight / weight.sum())
            rests.append(standing_heights(joints[-len(clips) :]))
        self.joints3d = torch.cat(joints)
        self.starts, self.lengths, self.rest = torch.cat(starts), torch.cat(lengths), torch.cat(rests)
        self.shares = torch.cat(shares)
        self.fps, self.num_frames = fps, num_frames

    def draw(self, count: int, variety: BodyVariety, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draws windows of people of random size and heading, with feet on the floor.

        Returns:
            joints3d (B, L, 22, 3), meters, with the mean root position at x = z = 0; valid (B, L) bool; and rest (B,
            4), the assumed heights of joints of standing feet, meters.
        """
        clips = torch.multinomial(self.shares, count, replacement=True, generator=generator)
        u = torch.rand(4, count, generator=generator)
        low, high = variety.speed
        speed = low * (high / low) ** u[0]
        last = (self.lengths[clips] - 1).float()
        spare = (last - (self.num_frames - 1) * speed).clamp(min=0)
        times = (u[1] * spare)[:, None] + speed[:, None] * torch.arange(self.num_frames)
        valid = times <= last[:, None]
        joints3d = self._at(clips, torch.minimum(times, last[:, None]))
        mirrored = joints3d[:, :, list(SMPL22.mirror_order)] * joints3d.new_tensor([-1.0, 1.0, 1.0])
        joints3d = torch.where((u[2] < 0.5)[:, None, None, None], mirrored, joints3d)
        joints3d = other_bodies(joints3d, variety, generator)
        weight = valid[..., None].float()
        middle = (joints3d[:, :, 0] * weight).sum(1) / weight.sum(1) * joints3d.new_tensor([1.0, 0.0, 1.0])
        joints3d = joints3d - middle[:, None, None]
        angle = 2 * torch.pi * u[3]
        c, s, o, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
        turn = torch.stack([c, o, s, o, one, o, -s, o, c], -1).unflatten(-1, (3, 3))
        joints3d = joints3d @ turn[:, None].mT
        rest = self.rest[clips] + variety.rest * torch.randn(count, 1, generator=generator)
        return joints3d, valid, rest

    def _at(self, clips: Tensor, times: Tensor) -> Tensor:
        """Joints (B, L, 22, 3) of clips (B,) at times (B, L), in frames, by cubic interpolation."""
        last = self.lengths[clips][:, None] - 1
        base = times.floor().long()
        t = (times - base)[..., None, None]
        index = torch.stack([(base + k).clamp(min=0) for k in (-1, 0, 1, 2)], -1)
        index = torch.minimum(index, last[..., None]) + self.starts[clips][:, None, None]
        p = self.joints3d[index]
        a, b, c, d = p.unbind(2)
        return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def standing_heights(clips: Sequence[Tensor]) -> Tensor:
    """Heights (N, 4) of the joints of standing feet in clips (L, 22, 3), meters, equal for left and right.

    The height is the quantile LOW of the heights of the lower foot. Its deviation from the median of all clips is
    clamped to UNUSUAL, for clips of people who never touch the floor.
    """
    lows = torch.stack(
        [clip[:, list(FEET), 1].unflatten(1, (2, 2)).amin(-1).quantile(LOW, dim=0) for clip in clips]
    )  # (N, 2): ankles, balls
    usual = lows.median(0).values
    return (usual + (lows - usual).clamp(-UNUSUAL, UNUSUAL)).repeat_interleave(2, 1)


def other_bodies(joints3d: Tensor, variety: BodyVariety, generator: torch.Generator) -> Tensor:
    """Motion (B, L, 22, 3) with changed bone lengths and supporting feet kept in place."""
    count = len(joints3d)
    low, high = variety.size
    size = low * (high / low) ** torch.rand(count, 1, generator=generator)
    draws = variety.limbs * torch.randn(4, count, generator=generator)
    single = variety.bones * torch.randn(count, SMPL22.num_joints, generator=generator)
    twins = [min(j, twin) for j, twin in enumerate(SMPL22.mirror_order)]
    factor = single[:, twins]
    for group, draw in zip((_LEGS, _ARMS, _ACROSS), draws, strict=False):
        factor[:, list(group)] += draw[:, None]
    factor = factor.exp()
    factor[:, SMPL22.index("spine1")] *= draws[3].exp()
    placed = [joints3d[:, :, 0]]
    for parent, child in SMPL22.bones:
        placed.append(placed[parent] + factor[:, None, child, None] * (joints3d[:, :, child] - joints3d[:, :, parent]))
    moved = torch.stack(placed, 2)
    legs = factor[:, list(_LEGS)].mean(-1)[:, None, None, None]
    feet = list(FEET)
    wanted = legs * joints3d[:, :, feet]
    heights = joints3d[:, :, feet, 1]
    bears = torch.softmax(-heights / SUPPORT, -1)[..., None]
    shift = (bears * (wanted - moved[:, :, feet])).sum(2, keepdim=True)
    level = torch.where(heights.amin(-1, keepdim=True) < 0.3, 1.0, legs[..., 0])[
        ..., None
    ]  # low feet keep their height
    lift = (bears * heights[..., None]).sum(2, keepdim=True) * (level - legs)
    shift = shift + lift * shift.new_tensor([0.0, 1.0, 0.0])
    return (moved + shift) * size[..., None, None]


def standing(joints3d: Tensor, *, fps: float) -> Tensor:
    """Standing feet (B, L, 4) bool: feet close to their lowest height that hardly move."""
    feet = joints3d[:, :, list(FEET)]
    low = feet[..., 1] < feet[..., 1].quantile(0.05, dim=1, keepdim=True).clamp(max=0.15) + CONTACT_HEIGHT
    speed = torch.diff(feet, dim=1).norm(dim=-1) * fps
    before, after = torch.cat([speed[:, :1], speed], 1), torch.cat([speed, speed[:, -1:]], 1)
    return low & (torch.minimum(before, after) < CONTACT_SPEED)
