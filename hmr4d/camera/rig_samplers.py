"""Random rigs for training, and the rig of virtual cameras around a real one.

All rigs stand in the world of `hmr4d.geometry.rigs`: camera V0 above the origin with yaw 0, floor y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.ground_pointmap import meet_floor
from hmr4d.geometry.rigs import Rig, camera_angles, camera_pose, canonicalise
from hmr4d.motion.ground_contact import rest_heights
from hmr4d.utils.randomness import ItemRandom

NUM_VIEWS = 4
SIZES = ((1920, 1080), (1280, 720), (1080, 1920), (640, 480), (1440, 1080), (1024, 1024))  # pixels, common formats
CENTER_HEIGHTS = (0.5, 1.5)  # meters; virtual cameras look at a point of V0's axis within these
HIP_HEIGHT = 0.9  # meters over the floor of an adult's hips
DISTANCES = (1.5, 12.0)  # meters; distances are clamped to this range
LATERAL = 0.15  # fraction of the distance: lateral offset of the center of a surrounding rig from V0's axis
Range = tuple[float, float]


@dataclass(frozen=True)
class CameraSet:
    """Cameras without a position.

    Attributes:
        size: (N, 2) pixels.
        K4: (N, 4) pixels.
        pitch, roll: (N,) radians.
        height: (N,) meters.
        distance: (N,) meters over the floor from the camera to its target.
    """

    size: Tensor
    K4: Tensor
    pitch: Tensor
    roll: Tensor
    height: Tensor
    distance: Tensor


@dataclass(frozen=True)
class CameraRanges:
    """Draws synthetic cameras that look at people.

    Attributes:
        sizes: image formats, drawn evenly.
        focal: focal length over the longer side of the image; shorter if less than `fit` meters of height are visible
            at the camera's distance.
        pitch: degrees.
        roll: degrees, either way.
        height, distance: meters.
        aim: height in meters above the floor of the axis at the target. center: offset of the principal point from the
            image center, fraction of the image side (standard deviation).
    """

    sizes: tuple[tuple[int, int], ...] = SIZES
    focal: Range = (0.6, 1.8)
    pitch: Range = (0.0, 35.0)
    roll: float = 5.0
    height: Range = (0.8, 4.0)
    distance: Range = (3.0, 8.0)
    aim: Range = (0.0, 1.5)
    center: float = 0.02
    fit: float = 2.4

    def draw(self, count: int, rng: ItemRandom) -> CameraSet:
        """`count` independent cameras."""
        u = rng.uniform(6, count)
        size = torch.tensor(self.sizes, dtype=torch.float32)[(u[0] * len(self.sizes)).long()]
        height, distance, aim = _within(self.height, u[1]), _within(self.distance, u[2]), _within(self.aim, u[3])
        low, high = (math.radians(a) for a in self.pitch)
        pitch = torch.atan2(height - aim, distance).clamp(low, high)
        roll = math.radians(self.roll) * (2 * u[4] - 1)
        focal = torch.minimum(_within(self.focal, u[5]) * size.amax(-1), size[:, 1] * distance / self.fit)
        center = size * (0.5 + self.center * rng.normal(count, 2))
        K4 = torch.cat([focal[:, None].expand(-1, 2), center], -1)
        return CameraSet(size, K4, pitch, roll, height, distance)


@dataclass(frozen=True)
class CameraPool:
    """Draws cameras from calibrated ones: intrinsics, pitch, roll and height are kept, positions are new.

    Attributes:
        rig: (N, ...) cameras over the floor y = 0, with any yaw and position. aim: height in meters above the floor of
            an axis at the target, which determines its distance. distance: meters, limits of the distance.
    """

    rig: Rig
    aim: Range = (0.0, 1.5)
    distance: Range = (3.0, 8.0)

    def draw(self, count: int, rng: ItemRandom) -> CameraSet:
        """`count` cameras, each one as likely."""
        chosen = (rng.uniform(count) * self.rig.num_views).long()
        rig = self.rig.select(chosen)
        pitch, roll, _ = camera_angles(rig.T_w2c[:, :3, :3])
        height = rig.centers[:, 1]
        drop = height - _within(self.aim, rng.uniform(count))
        distance = (drop / pitch.tan().clamp(min=1e-3)).clamp(*self.distance)
        return CameraSet(rig.size, rig.K4, pitch, roll, height, distance)


@dataclass(frozen=True)
class SurroundingRigs:
    """Cameras around a point in front of V0.

    Attributes:
        num_views: V.
        cameras: draws each camera's own numbers.
        min_gap: degrees of yaw between any two cameras, at least.
        spread: meters; maximum distance of an axis from the common center. virtual_share: fraction of the rigs with
            only V0, to be completed by virtual copies around the person.
    """

    num_views: int = NUM_VIEWS
    cameras: CameraRanges | CameraPool = CameraRanges()
    min_gap: float = 30.0
    spread: float = 1.5
    virtual_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.min_gap * self.num_views < 360:
            raise ValueError(
                f"{self.num_views} views cannot stand {self.min_gap} degrees apart. Lower min_gap or num_views."
            )

    def draw(self, rng: ItemRandom) -> Rig:
        """A rig of V views, or of V0 only."""
        is_virtual = float(rng.uniform(1)) < self.virtual_share
        count = 1 if is_virtual else self.num_views
        return surround(self.cameras.draw(count, rng), rng, min_gap=math.radians(self.min_gap), spread=self.spread)


@dataclass(frozen=True)
class CapturedRigs:
    """The cameras of calibrated captures, each in turn as V0, with others of the same capture in any order.

    Attributes:
        captures: rigs (N_i, ...) over the floor y = 0, each in its own world. num_views: V; captures with fewer cameras
            are completed by virtual ones.
    """

    captures: Sequence[Rig]
    num_views: int = NUM_VIEWS

    def __post_init__(self) -> None:
        if not self.captures:
            raise ValueError("No captures were given. Pass at least one calibrated capture, or use synthetic rigs.")

    def draw(self, rng: ItemRandom) -> Rig:
        """A rig of V views, or of all that the capture has."""
        capture = self.captures[rng.integer(len(self.captures))]
        order = torch.randperm(capture.num_views, generator=rng.tensors)[: self.num_views]
        chosen = capture.select(order)
        T_w2c, _ = canonicalise(chosen.T_w2c, chosen.T_w2c.new_tensor([0.0, 1.0, 0.0]), 0.0)
        return Rig(chosen.size, chosen.K4, T_w2c)


def surround(cameras: CameraSet, rng: ItemRandom, *, min_gap: float, spread: float) -> Rig:
    """Cameras placed around a center in front of the first of them, which becomes V0.

    The center is at V0's distance, slightly off its axis. The other axes pass within `spread` of it, and the yaws
    of any two cameras differ by `min_gap` radians or more.
    """
    count = len(cameras.height)
    gaps = -torch.log1p(-rng.uniform(count))  # exponential: the shares of a circle that random cuts give
    gaps = min_gap + (2 * math.pi - count * min_gap) * gaps / gaps.sum()
    yaw = torch.cat([gaps.new_zeros(1), gaps.cumsum(0)[:-1]])
    ahead = torch.stack([-yaw.sin(), -yaw.cos()], -1)  # (N, 2) x and z of the headings
    beside = LATERAL * (2 * rng.uniform(1) - 1) * cameras.distance[0]
    middle = torch.cat([beside, -cameras.distance[:1]])
    where = middle + disc(count, spread, rng) - cameras.distance[:, None] * ahead
    where[0] = 0.0
    center = torch.stack([where[:, 0], cameras.height, where[:, 1]], -1)
    return Rig(cameras.size, cameras.K4, camera_pose(cameras.pitch, cameras.roll, yaw, center))


def virtual_rig(
    camera: Rig, distance: Tensor | float, lateral: Tensor | float = 0.0, num_views: int = NUM_VIEWS
) -> Rig:
    """V0 and virtual copies of it around a point in front of it, evenly spaced in yaw.

    The copies have V0's intrinsics, height and distance to the center. They look at the point of V0's axis above the
    center, clamped to body height, without roll.

    Args:
        camera: (..., 1, ...) V0 in its own world.
        distance: (...) meters from V0 along its heading to the center: the median distance of the feet.
        lateral: (...) meters to the right of V0's heading.
        num_views: V, V0 included.

    Returns:
        (..., V, ...) rig whose view 0 is V0.
    """
    T = camera.T_w2c[..., 0, :, :]
    pitch, _, _ = camera_angles(T[..., :3, :3])
    height = camera.centers[..., 0, 1]
    z = -torch.as_tensor(distance, dtype=T.dtype, device=T.device).expand_as(height)
    x = torch.as_tensor(lateral, dtype=T.dtype, device=T.device).expand_as(height)
    reach = torch.hypot(x, z)[..., None]
    yaw = torch.arange(1, num_views, dtype=T.dtype, device=T.device) * (2 * math.pi / num_views)
    yaw = yaw.expand(*height.shape, num_views - 1)
    aim = (height + z * pitch.tan()).clamp(*CENTER_HEIGHTS)
    tilt = torch.atan2((height - aim)[..., None], reach).expand_as(yaw)
    places = [x[..., None] + reach * yaw.sin(), height[..., None].expand_as(yaw), z[..., None] + reach * yaw.cos()]
    copies = camera_pose(tilt, torch.zeros_like(tilt), yaw, torch.stack(places, -1))
    others = (*height.shape, num_views - 1)
    return Rig(
        torch.cat([camera.size, camera.size.expand(*others, 2)], -2),
        torch.cat([camera.K4, camera.K4.expand(*others, 4)], -2),
        torch.cat([camera.T_w2c, copies], -3),
    )


def feet_place(
    camera: Rig, kp2d: Tensor, visible: Tensor, skeleton: Skeleton, foot_heights: Mapping[str, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Position of a person for `virtual_rig`: the median floor position of the lowest joint in the image.

    Frames without a visible foot use the hips, at the height of an adult.

    Args:
        camera: (..., 1, ...) V0 in its own world.
        kp2d: (..., L, J, 2) pixels.
        visible: (..., L, J) bool.
        skeleton: skeleton of the joints. foot_heights: heights of standing joints, see `rest_heights`.

    Returns: distance (...) along V0's heading, within `DISTANCES`, and lateral position (...) to its right, meters;
        positions farther away are moved along their direction.

    Raises:
        ValueError: no frame of some track shows feet or hips below the horizon.
    """
    heights = rest_heights(skeleton, foot_heights).to(kp2d)
    heights[list(skeleton.root_joints)] = HIP_HEIGHT
    joints = torch.arange(skeleton.num_joints, device=kp2d.device)
    feet, hips = (torch.isin(joints, joints[list(j)]) for j in (skeleton.contact_joints, skeleton.root_joints))
    by_feet = visible & feet
    points, meets = meet_floor(camera, kp2d.nan_to_num()[..., None, :, :, :], heights)
    usable = meets[..., 0, :, :] & (by_feet | (visible & hips & ~by_feet.any(-1, keepdim=True)))
    lowest = kp2d[..., 1].masked_fill(~usable, -torch.inf).argmax(-1)[..., None, None]  # (..., L, 1, 1)
    stands = points[..., 0, :, :, :].gather(-2, lowest.expand(*lowest.shape[:-1], 3))[..., 0, :]
    stands = torch.where(usable.any(-1, keepdim=True), stands, torch.nan)
    if not usable.any(-1).any(-1).all():
        raise ValueError(
            "No frame shows feet or hips below the horizon of the camera, so the person's position is unknown. Check "
            "the camera's pitch and height, and that the keypoints are in its pixels."
        )
    x, _, z = stands.nanmedian(-2).values.unbind(-1)
    distance = (-z).clamp(*DISTANCES)
    return distance, x * (distance / (-z).clamp(min=DISTANCES[0]))


def complete(rig: Rig, num_views: int, distance: float, lateral: float) -> Rig:
    """The rig (N, ...) with virtual copies of V0 around a point, up to `num_views`; see `virtual_rig`."""
    if rig.num_views >= num_views:
        return rig
    copies = virtual_rig(rig.select([0]), distance, lateral).select(slice(1, 1 + num_views - rig.num_views))
    return Rig(*(torch.cat(pair) for pair in zip(_fields(rig), _fields(copies), strict=True)))


def disc(count: int, radius: float, rng: ItemRandom) -> Tensor:
    """(count, 2) uniform in a disc around the origin."""
    u = rng.uniform(2, count)
    angle = 2 * math.pi * u[0]
    return radius * u[1].sqrt()[:, None] * torch.stack([angle.cos(), angle.sin()], -1)


def _fields(rig: Rig) -> tuple[Tensor, Tensor, Tensor]:
    return rig.size, rig.K4, rig.T_w2c


def _within(bounds: Range, u: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * u
