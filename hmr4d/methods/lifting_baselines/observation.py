"""Observation of a person in one calibrated view without learning: rays, foot contacts and depth from the floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.geometry.cameras import invert_rigid
from hmr4d.geometry.ground_pointmap import meet_floor
from hmr4d.geometry.rigs import Rig, normalize
from hmr4d.motion.ground_contact import NEAREST_BAND, rest_heights
from hmr4d.utils.tensors import interpolate_gaps

MIN_CONF = 0.3  # keypoints of lower confidence count as missing
STILL = 0.4  # m/s perpendicular to the line of sight; slower feet may stand
SLOWEST = 0.4  # fraction of the feet, the slowest ones, that may stand at any speed
MAX_RANGE = 40.0  # meters; floor points beyond this distance are ignored
IMAGE_SECONDS, PLACE_SECONDS = 0.05, 0.25  # standard deviations of the smoothing of image tracks and of the position
SIZE_SECONDS = 0.5  # standard deviation of the smoothing of depth from size


@dataclass(frozen=True)
class Observation:
    """One person in view 0, in float64.

    Attributes:
        rays: (L, J, 2) image coordinates at unit depth, gaps filled in time.
        seen: (L, J) bool.
        conf: (L, J), 0 where not seen.
        directions: (L, J, 3) directions of the rays in the world, scaled to a depth of one meter.
        center: (3,) optical center in the world, meters.
        root, root_direction: (L, 2) and (L, 3) image coordinates and direction of the root.
        root_depth: (L,) meters.
        contact: (L, J) bool, standing foot joints.
        rest_height: (J,) height of standing foot joints above the floor, meters; 0 for other joints.
    """

    rays: Tensor
    seen: Tensor
    conf: Tensor
    directions: Tensor
    center: Tensor
    root: Tensor
    root_direction: Tensor
    root_depth: Tensor
    contact: Tensor
    rest_height: Tensor

    @property
    def root_place(self) -> Tensor:
        """Position (L, 3) of the root, meters, world."""
        return self.center + self.root_depth[:, None] * self.root_direction


def observe(
    kp2d: Tensor,
    conf: Tensor,
    rig: Rig,
    fps: float,
    skeleton: Skeleton,
    bones: Tensor,
    *,
    use_floor: bool = True,
    foot_heights: Mapping[str, float] | None = None,
) -> Observation:
    """Rays, contacts and root depth of a track.

    Standing feet determine the position on the floor, which is interpolated between contacts. The root is the
    intersection of its ray with the vertical plane through that position that faces the camera. If no foot ray meets
    the floor, or without `use_floor`, depth comes from the image size of the least foreshortened bones.

    Args:
        kp2d: (L, J, 2) undistorted pixels of view 0.
        conf: (L, J) in [0, 1].
        rig: view 0 is the observed one.
        fps: frames per second.
        skeleton: skeleton of the keypoints.
        bones: (J, 3) meters, rest joints of an adult, for bone lengths.
        use_floor: whether the pose of the camera relative to the floor is known.
        foot_heights: heights of joints in a standing foot, see `rest_heights`.

    Raises:
        ValueError: shapes do not match, or no frame shows the root.
    """
    check_track(kp2d, conf, skeleton, fps)
    camera = rig.select([0]).to(torch.float64)
    seen = (conf >= MIN_CONF) & kp2d.isfinite().all(-1)
    roots = list(skeleton.root_joints)
    if not seen[:, roots].all(-1).any():
        raise ValueError(
            "No frame shows the root of the person (pelvis or both hips), so the track cannot be lifted. "
            "Give keypoints with hips."
        )
    rays = normalize(camera, torch.nan_to_num(kp2d.double())[None])[0]
    filled = interpolate_gaps(rays.transpose(0, 1), seen.T).transpose(0, 1)
    filled = torch.where(seen[..., None], rays, filled)
    T_c2w = invert_rigid(camera.T_w2c[0])
    root = interpolate_gaps(filled[:, roots].mean(1), seen[:, roots].all(-1))
    heights = rest_heights(skeleton, foot_heights).double()
    contact, place = torch.zeros_like(seen), None
    if use_floor:
        pixels = filled * camera.K4[0, :2] + camera.K4[0, 2:]
        contact, place = _contacts(smooth(pixels, IMAGE_SECONDS, fps), camera, seen, heights, fps, skeleton)
    root_direction = _world_directions(root, T_c2w)
    center = T_c2w[:3, 3]
    if place is None:
        depth = smooth(_depth_by_size(filled, seen, bones.double(), skeleton), SIZE_SECONDS, fps)
    else:
        ahead = (place - center) * place.new_tensor([1.0, 0.0, 1.0])
        depth = (ahead * ahead).sum(-1) / (ahead * root_direction).sum(-1).clamp(min=1e-6)
    return Observation(
        rays=filled,
        seen=seen,
        conf=torch.where(seen, conf.double(), 0.0).clamp(0, 1),
        directions=_world_directions(filled, T_c2w),
        center=center,
        root=root,
        root_direction=root_direction,
        root_depth=depth,
        contact=contact,
        rest_height=heights,
    )


def check_track(kp2d: Tensor, conf: Tensor, skeleton: Skeleton, fps: float) -> None:
    """Raises ValueError unless a track (L, J, 2) and its confidences (L, J) match the skeleton."""
    num_joints = skeleton.num_joints
    if kp2d.ndim != 3 or kp2d.shape[1:] != (num_joints, 2) or conf.shape != kp2d.shape[:2] or not len(kp2d):
        raise ValueError(
            f"kp2d has shape {tuple(kp2d.shape)} and conf {tuple(conf.shape)}; skeleton '{skeleton.name}' needs "
            f"(L, {num_joints}, 2) and (L, {num_joints})."
        )
    if not fps > 0:
        raise ValueError(f"fps is {fps}; give the frame rate of the track.")


def smooth(x: Tensor, seconds: float, fps: float) -> Tensor:
    """x (L, ...) convolved over time with a Gaussian of standard deviation `seconds`; the ends are extended."""
    sigma = seconds * fps
    if len(x) < 2 or sigma < 0.1:
        return x
    return torch.from_numpy(gaussian_filter1d(x.numpy(), sigma, axis=0, mode="nearest"))


def _world_directions(rays: Tensor, T_c2w: Tensor) -> Tensor:
    return torch.cat([rays, torch.ones_like(rays[..., :1])], -1) @ T_c2w[:3, :3].mT


def _contacts(
    pixels: Tensor, camera: Rig, seen: Tensor, heights: Tensor, fps: float, skeleton: Skeleton
) -> tuple[Tensor, Tensor | None]:
    """Standing joints (L, J) bool, and the floor position (L, 3), meters; None if no foot ray meets the floor."""
    feet = list(skeleton.contact_joints)
    contact = torch.zeros_like(seen)
    if not feet:
        return contact, None
    points, meets = meet_floor(camera, pixels[None, :, feet], heights[feet])
    points, usable = points[0], meets[0] & seen[:, feet]
    center = invert_rigid(camera.T_w2c[0])[:3, 3]
    reach = (points - center)[..., [0, 2]].norm(dim=-1)
    usable = usable & (reach < MAX_RANGE)
    if not usable.any():
        return contact, None
    depth = (points - center).norm(dim=-1)
    step = torch.diff(pixels[:, feet] / camera.K4[0, :2], dim=0, append=pixels[-1:, feet] / camera.K4[0, :2])
    step = torch.maximum(step.norm(dim=-1), step.norm(dim=-1).roll(1, 0))
    reach = reach.masked_fill(~usable, torch.inf)
    near = reach <= reach.amin(-1, keepdim=True) + NEAREST_BAND
    speed = (step * depth * fps).masked_fill(~(usable & near), torch.nan)
    slow = torch.nan_to_num(speed.nanquantile(SLOWEST), nan=0.0).clamp(min=STILL)  # noisy feet are never still
    stands = usable & near & (speed <= slow)
    contact[:, feet] = stands
    weight = stands.double()[..., None]
    place = (weight * points).sum(1) / weight.sum(1).clamp(min=1)
    return contact, smooth(interpolate_gaps(place, stands.any(-1)), PLACE_SECONDS, fps)


def _depth_by_size(rays: Tensor, seen: Tensor, bones: Tensor, skeleton: Skeleton) -> Tensor:
    """Depth (L,), meters, at which the least foreshortened bones have the length of an adult."""
    starts, ends = (list(joints) for joints in zip(*skeleton.limbs, strict=True))
    length = (bones[starts] - bones[ends]).norm(dim=-1)
    image = (rays[:, starts] - rays[:, ends]).norm(dim=-1)
    usable = seen[:, starts] & seen[:, ends] & (image > 0) & (length > 0.5 * length.median())
    depth = torch.where(usable, length / image.clamp(min=1e-6), torch.nan).nanquantile(0.25, dim=-1)
    known = depth.isfinite()
    return interpolate_gaps(torch.nan_to_num(depth)[:, None], known)[:, 0].clamp(min=0.5)
