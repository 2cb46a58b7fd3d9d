"""The ray frame: the vertical plane through the feet that faces the camera, and distances of joints from it.

The camera center C is (0, h, 0), y is up. In every frame the feet have a position on the floor, at distance r in the
horizontal direction f. The plane contains this position and is perpendicular to f. Joints are unprojected to points P
on the plane: `u` meters to the right, `v` meters above the floor. A joint is `along` meters behind the plane at
X = C + (1 + along / r) (P - C), so X lies on the ray of P for every `along`. This representation is independent of
lens, roll, pitch and heading of the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.rigs import Rig, normalize

FEET = SMPL22.contact_joints  # ankles, then the balls of the feet
HIPS, SHOULDERS = SMPL22.indices("left_hip", "right_hip"), SMPL22.indices("left_shoulder", "right_shoulder")
HIP_HEIGHT, TORSO = 0.9, 0.5  # meters, of an adult: height of the hips, and distance from hips to shoulders
MIN_FALL = 1e-3  # meters; smallest descent of a ray of length 1 that meets the floor
NEAREST, FARTHEST = 0.4, 60.0  # meters; bounds of the distance of the feet
NEAR_BAND = 0.06  # e-folding distance of a foot's floor point behind the nearest one, relative to its distance
PLACE_SECONDS = 0.25  # standard deviation of the smoothing of the position
MIN_FORWARD = 0.1  # cosine; rays closer to parallel with the plane are bent
REACH = 4.0  # meters; points on the plane are clamped to this distance
GUESSED, SIZED, NOWHERE = (
    1e-4,
    1e-6,
    1e-9,
)  # weights of positions from hips, from size and without information; feet have weight 1


@dataclass(frozen=True)
class RayFrame:
    """Position of the plane in every frame.

    Attributes:
        height: (B, 1) height of the camera above the floor, meters.
        distance: (B, L) horizontal distance from the camera to the feet, meters.
        ahead: (B, L, 3) horizontal unit vector towards the feet.
    """

    height: Tensor
    distance: Tensor
    ahead: Tensor

    @property
    def right(self) -> Tensor:
        """(B, L, 3) horizontal unit vector to the right of `ahead`."""
        return torch.stack([-self.ahead[..., 2], torch.zeros_like(self.distance), self.ahead[..., 0]], -1)

    @property
    def elevation(self) -> Tensor:
        """(B, L) downward angle from the camera to the position of the feet, radians."""
        return torch.atan2(self.height.expand_as(self.distance), self.distance)

    def to_plane(self, rays: Tensor) -> Tensor:
        """Intersections (B, L, J, 2: u, v), meters, of rays (B, L, J, 3) of the camera with the plane."""
        forward = (rays * self.ahead[..., None, :]).sum(-1)
        forward = torch.maximum(forward, MIN_FORWARD * rays.norm(dim=-1)).clamp(min=1e-6)
        scale = self.distance[..., None] / forward
        u = (rays * self.right[..., None, :]).sum(-1) * scale
        v = rays[..., 1] * scale + self.height[..., None]
        return torch.stack([u, v], -1).clamp(-REACH, REACH)

    def to_world(self, plane: Tensor, along: Tensor) -> Tensor:
        """World joints (B, L, J, 3) of points on the plane (B, L, J, 2) and distances behind it (B, L, J); meters."""
        offset = self.distance[..., None, None] * self.ahead[..., None, :] + plane[..., :1] * self.right[..., None, :]
        up = plane[..., 1] - self.height[..., None]
        offset = torch.stack([offset[..., 0], up, offset[..., 2]], -1)
        points = offset * (1 + along / self.distance[..., None])[..., None]
        return torch.stack([points[..., 0], points[..., 1] + self.height[..., None], points[..., 2]], -1)

    def from_world(self, joints3d: Tensor) -> tuple[Tensor, Tensor]:
        """Points on the plane (B, L, J, 2) and distances behind it (B, L, J) of joints, meters; the inverse of
        `to_world`."""
        reach = (joints3d * self.ahead[..., None, :]).sum(-1)
        scale = self.distance[..., None] / reach.clamp(min=0.1)
        u = (joints3d * self.right[..., None, :]).sum(-1) * scale
        v = (joints3d[..., 1] - self.height[..., None]) * scale + self.height[..., None]
        return torch.stack([u, v], -1), reach - self.distance[..., None]


def camera_rays(rig: Rig, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Rays of view 0 in world coordinates, and the height of its camera.

    Args:
        rig: cameras (B, V, ...) with view 0 above the origin.
        pixels: (B, L, J, 2).

    Returns:
        rays (B, L, J, 3), scaled to a depth of one meter, and height (B, 1), meters.
    """
    camera = rig.select([0])
    flat = normalize(camera, pixels[:, None])[:, 0]
    T_c2w = invert_rigid(camera.T_w2c[:, 0])
    rays = torch.cat([flat, torch.ones_like(flat[..., :1])], -1) @ T_c2w[:, None, :3, :3].mT
    return rays, T_c2w[:, 1, 3:4]


def floor_distances(rays: Tensor, height: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse distance at which the rays of joints reach the standing height of the joints.

    Args:
        rays: (B, L, K, 3).
        height: (B, 1) height of the camera, meters.
        rest: (B, K) or (K,) standing heights of the joints, meters.

    Returns:
        Inverse distance (B, L, K), 1 / meters, and whether the ray falls (B, L, K). The inverse distance is 0 for other
        rays. Pixel errors affect the inverse distance nearly uniformly.
    """
    drop = height[..., None] - (rest[:, None] if rest.ndim == 2 else rest)
    fall = -rays[..., 1]
    meets = (fall > MIN_FALL * rays.norm(dim=-1)) & (drop > 0.02)
    across = rays[..., [0, 2]].norm(dim=-1).clamp(min=1e-6)
    inverse = torch.where(meets, fall / (across * drop.clamp(min=0.02)), 0.0)
    return inverse.clamp(max=1 / NEAREST), meets & (inverse > 1 / FARTHEST)


def find_frame(rays: Tensor, seen: Tensor, height: Tensor, rest: Tensor, *, fps: float) -> RayFrame:
    """The ray frame at the smoothed position of the feet. Without visible feet, the position comes from the hips at the
    height of an adult, or from the size of the torso.

    Positions are averaged as unit vector / distance, for which pixel errors have a nearly uniform effect.

    Args:
        rays: (B, L, 22, 3) rays of SMPL joints.
        seen: (B, L, 22) bool.
        height: (B, 1) height of the camera, meters.
        rest: (B, 4) or (4,) heights of standing `FEET`, meters.
        fps: frames per second.
    """
    feet, hips = list(FEET), list(HIPS)
    level = torch.full_like(height, HIP_HEIGHT).expand(-1, 2)
    rest = rest.to(rays).expand(len(rays), -1)
    joints = feet + hips
    inverse, meets = floor_distances(rays[:, :, joints], height, torch.cat([rest, level], 1))
    meets = meets & seen[:, :, joints]
    by_feet = inverse[..., :4].masked_fill(~meets[..., :4], 0.0)
    nearest = by_feet.amax(-1, keepdim=True).clamp(min=1e-6)
    weights = torch.where(meets[..., :4], torch.exp(-(nearest / by_feet.clamp(min=1e-6) - 1) / NEAR_BAND), 0.0)
    weights = torch.cat([weights, GUESSED * meets[..., 4:]], -1)
    flat = rays[:, :, joints] * rays.new_tensor([1.0, 0.0, 1.0])
    unit = flat / flat.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    total = (weights[..., None] * inverse[..., None] * unit).sum(2)
    count = weights.sum(2)
    sized, weight = _by_size(rays, seen)
    total, count = total + weight[..., None] * sized, count + weight
    kernels = [_smooth(torch.cat([total, count[..., None]], -1), s * fps) for s in (PLACE_SECONDS, 1.0, 4.0)]
    mixed = kernels[0] + 1e-3 * kernels[1] + 1e-6 * kernels[2]
    mean = torch.cat([total, count[..., None]], -1).mean(1, keepdim=True)
    mixed = mixed + 1e-9 * mean + 1e-12 * rays.new_tensor([0.0, 0.0, -0.25, 1.0])
    place = mixed[..., :3] / mixed[..., 3:]
    size = place.norm(dim=-1).clamp(min=1e-6)
    return RayFrame(height, (1 / size).clamp(NEAREST, FARTHEST), place / size[..., None])


def _by_size(rays: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vector / distance (B, L, 3) at which the torso has the length of an adult, and its weight (B, L)."""
    unit = rays / rays.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    low, high = unit[:, :, list(HIPS)].mean(2), unit[:, :, list(SHOULDERS)].mean(2)
    angle = (high - low).norm(dim=-1).clamp(min=0.01)
    flat = low * rays.new_tensor([1.0, 0.0, 1.0])
    across = flat.norm(dim=-1).clamp(min=1e-3)
    inverse = (angle / TORSO / across).clamp(1 / 30.0, 1 / NEAREST)
    known = seen[:, :, [*HIPS, *SHOULDERS]].all(-1)
    anything = (unit * seen[..., None]).sum(2) * rays.new_tensor([1.0, 0.0, 1.0])
    somewhere = anything / anything.norm(dim=-1, keepdim=True).clamp(min=1e-6) / 4.0
    place = torch.where(known[..., None], flat / across[..., None] * inverse[..., None], somewhere)
    return place, torch.where(known, SIZED, torch.where(seen.any(-1), NOWHERE, 0.0)).to(rays)


def _smooth(x: Tensor, sigma: float) -> Tensor:
    """Convolution of x (B, L, C) over time with a Gaussian of `sigma` frames, not normalized at the ends."""
    reach = max(round(3 * sigma), 1)
    away = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    kernel = torch.exp(-0.5 * (away / sigma).square())
    flat = x.transpose(1, 2).reshape(-1, 1, x.shape[1])
    return F.conv1d(flat, (kernel / kernel.sum())[None, None], padding=reach).reshape(len(x), -1, x.shape[1]).mT
