"""Post-processing of lifted motion: extrapolation of an invisible root, smoothing, constant bone lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.body.joint_conventions import bone_lengths
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22, Skeleton
from hmr4d.geometry.cameras import invert_rigid, world_to_camera
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.mocap2to3.bone_fit import fit_bones
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.values import Track
from hmr4d.motion.tracks import smooth_in_time
from hmr4d.utils.precision import full_precision

MIN_VIEW_DEPTH = 0.1  # meters; motion with a joint at a smaller depth is not smoothed
LEARNED_SECONDS = 0.5  # visible part of a path that determines its velocity
HELD_SECONDS = 1.0  # duration of the extrapolation; beyond it the lifted motion continues
FASTEST = 4.0  # meters per second; largest extrapolation speed along the floor


def hold_root(joints3d: Tensor, seen: Tensor, *, fps: float, root_joints: tuple[int, ...]) -> Tensor:
    """Extrapolates the path of motion (L, J, 3) if a clip starts or ends without a visible root.

    A few joints at the edge of the image do not determine the position of a person. Before the first and after the last
    frame with a visible root, the root moves in a straight line along the floor. Its velocity is that of the
    least-squares line through the nearest LEARNED_SECONDS of visible frames, its height their median. The whole body
    moves with the root.

    Args:
        joints3d: meters, world, y up.
        seen: (L,) bool, whether view 0 observed the root.
        fps: frames per second.
        root_joints: joints whose mean is the root.
    """
    frames = seen.nonzero()[:, 0]
    if len(frames) in (0, len(seen)):
        return joints3d
    root = joints3d[:, list(root_joints)].mean(1)
    offset = torch.zeros_like(root)
    count, longest = max(round(LEARNED_SECONDS * fps), 2), max(round(HELD_SECONDS * fps), 1)
    first, last = int(frames[0]), int(frames[-1])
    for learned, away in (
        (frames[:count], torch.arange(first - 1, -1, -1)),
        (frames[-count:], torch.arange(last + 1, len(seen))),
    ):
        if not len(away):
            continue
        start, velocity = _line(root, learned, float(learned[0] if away[0] < first else learned[-1]), fps)
        held = away[:longest].to(seen.device)
        steps = (held - (first if away[0] < first else last)).to(root)[:, None]
        offset[held] = start + steps / fps * velocity - root[held]
        offset[away[longest:].to(seen.device)] = offset[held[-1]].clone()
    return joints3d + offset[:, None]


def _line(root: Tensor, frames: Tensor, at: float, fps: float) -> tuple[Tensor, Tensor]:
    """Line fit to the root (L, 3) over `frames`: position (3,) at frame `at`, and velocity (3,) along the floor."""
    points, times = root[frames], (frames - at).to(root)[:, None] / fps
    middle, when = points.mean(0), times.mean()
    velocity = ((times - when) * (points - middle)).sum(0) / (times - when).square().sum().clamp(min=1e-9)
    velocity = velocity * velocity.new_tensor([1.0, 0.0, 1.0])
    velocity = velocity * (FASTEST / velocity.norm().clamp(min=FASTEST))
    place = middle - when * velocity
    place[1] = points[:, 1].median()
    return place, velocity


@full_precision
def smooth_as_seen(
    joints3d: Tensor,
    rig: Rig,
    lengths: Tensor,
    options: LiftSamplingOptions,
    *,
    fps: float,
    root_joints: tuple[int, ...],
) -> Tensor:
    """Smooths motion (B, L, J, 3) perpendicular to and along the rays of view 0. Motion behind the camera is unchanged.

    `smooth_depth` applies to the depth of the root, `smooth_limb_depth` to the depth of the other joints relative to
    the root; long windows there would remove the steps of a walk.
    """
    if options.smooth_image == options.smooth_depth == options.smooth_limb_depth == 0:
        return joints3d
    T_w2c, shape = rig.T_w2c[:, 0], joints3d.shape[1:3]
    points_c = world_to_camera(joints3d.flatten(1, 2), T_w2c).unflatten(1, shape)
    depth = points_c[..., 2:].clamp(min=MIN_VIEW_DEPTH)
    root = depth[:, :, list(root_joints)].mean(2, keepdim=True)
    image = smooth_in_time(points_c[..., :2] / depth, lengths, options.smooth_image * fps)
    smooth = smooth_in_time(root, lengths, options.smooth_depth * fps)
    smooth = smooth + smooth_in_time(depth - root, lengths, options.smooth_limb_depth * fps)
    moved = torch.cat([image, torch.ones_like(smooth)], -1) * smooth
    moved = world_to_camera(moved.flatten(1, 2), invert_rigid(T_w2c)).unflatten(1, shape)
    beyond = torch.arange(shape[0], device=lengths.device) >= lengths[:, None]
    in_front = (points_c[..., 2] > MIN_VIEW_DEPTH) | beyond[..., None]
    return torch.where(in_front.all(1)[:, None, :, None], moved, joints3d)


def finish_motion(
    joints3d: Tensor,
    rig: Rig,
    track: Track,
    options: LiftSamplingOptions,
    *,
    fps: float,
    skeleton: Skeleton,
    joint_convention: str | None,
    keeps_path: bool = False,
) -> Tensor:
    """Post-processes motion (B, L, J, 3): invisible roots, smoothing and, optionally, constant bone lengths.

    Args:
        joints3d: meters, world, y up.
        rig: cameras, view 0 the real one.
        track: observation of view 0.
        options: sampling options.
        fps: frame rate of motion and track.
        skeleton: skeleton of the motion.
        joint_convention: joint convention of the motion, see `body.joint_conventions`; determines the bone proportions.
        keeps_path: do not change roots and do not smooth.
    """
    roots, seen = skeleton.root_joints, track.seen(options.min_conf)
    joints3d = joints3d.clone()
    if not keeps_path:
        for row, length in enumerate(track.lengths.tolist()):
            known = seen[row, :length, list(roots)].all(-1)
            joints3d[row, :length] = hold_root(joints3d[row, :length], known, fps=fps, root_joints=roots)
        joints3d = smooth_as_seen(joints3d, rig, track.lengths, options, fps=fps, root_joints=roots)
    if not options.constant_bones:
        return joints3d
    proportions = None
    if skeleton.name == SMPL22.name:
        proportions = bone_lengths(joint_convention, load_light_body().rest_joints)
    for row, length in enumerate(track.lengths.tolist()):
        fitted = fit_bones(
            joints3d[row, :length].cpu(),
            track.pixels[row, :length].cpu(),
            (track.conf * seen)[row, :length].cpu(),
            Rig(rig.size[row], rig.K4[row], rig.T_w2c[row]).to("cpu"),
            proportions,
            fps=fps,
            skeleton=skeleton,
        )
        joints3d[row, :length] = fitted.to(joints3d)
    return joints3d
