"""Conversion between generated views and world motion: observation of view 0, triangulation and reprojection."""

from __future__ import annotations

import torch
from torch import Tensor

from hmr4d.geometry.cameras import world_to_camera
from hmr4d.geometry.rigs import Rig, normalize, project
from hmr4d.geometry.triangulation import fill_in_time, triangulate_robust
from hmr4d.methods.mocap2to3.cleaning import MIN_VIEW_DEPTH
from hmr4d.methods.mocap2to3.options import LiftSamplingOptions
from hmr4d.methods.mocap2to3.values import Lifted, Track, ViewCodec
from hmr4d.utils.precision import full_precision


def observe(x_0: Tensor, codec: ViewCodec, rig: Rig, track: Track, options: LiftSamplingOptions) -> Tensor:
    """Features (B, V, L, D) with view 0 replaced by the observation where it is available."""
    if not options.keep_observed:
        return x_0
    size = rig.size[:, 0]
    drawn = codec.decode(x_0[:, 0], size)
    seen = track.seen(options.min_conf)
    first = codec.encode(torch.where(seen[..., None], track.pixels, drawn), size)
    return torch.cat([first[:, None], x_0[:, 1:]], 1)


@full_precision
def triangulate(
    x_0: Tensor, codec: ViewCodec, rig: Rig, track: Track, options: LiftSamplingOptions, prior: Tensor | None
) -> Lifted:
    """World motion from the generated and the observed views by robust triangulation (`triangulate_robust`).

    A joint observed by view 0 enters with its observation and weight `observed_weight` conf^2 instead of its generated
    position; a missing joint enters as generated.

    Args:
        x_0: (B, V, L, D) features.
        codec: codec of the motion of a view.
        rig: V cameras, batched.
        track: observed motion.
        options: weights.
        prior: (B, L, J, 3) meters, for points that the rays do not determine; NaN where unknown, or None.
    """
    frames = x_0.shape[2], codec.skeleton.num_joints
    pixels = codec.decode(x_0, rig.size)
    seen = track.seen(options.min_conf)
    first = torch.where(seen[..., None], track.pixels, pixels[:, 0])
    points2d = normalize(rig, torch.cat([first[:, None], pixels[:, 1:]], 1))
    weights = torch.ones_like(points2d[..., 0])
    weights[:, 0] = torch.where(seen, options.observed_weight * track.conf.square(), 1.0)
    side = codec.box_side(x_0, rig.size) / rig.K4[:, :, None, :2]
    side = side.mean(-1)[..., None].expand_as(weights)
    triangulated = triangulate_robust(
        points2d.flatten(2, 3),
        rig.T_w2c,
        weights.flatten(2, 3),
        scale=side.flatten(2, 3),
        prior=None if prior is None else prior.flatten(1, 2),
    )
    inside = torch.arange(frames[0], device=x_0.device) < track.lengths[:, None]
    ok = triangulated.ok.unflatten(1, frames) & inside[..., None]  # padded frames must not count as neighbors in time
    joints3d = fill_in_time(triangulated.points.unflatten(1, frames), ok)
    depth = world_to_camera(joints3d.flatten(1, 2), rig.T_w2c[:, 0])[..., 2].unflatten(1, frames)
    return Lifted(joints3d, triangulated.residual.unflatten(1, frames) * depth.clamp(min=0.0))


@full_precision
def reproject(joints3d: Tensor, x_0: Tensor, codec: ViewCodec, rig: Rig) -> Tensor:
    """Features (B, V, L, D) of a motion (B, L, J, 3) in all views; frames too close to a camera keep x_0."""
    pixels, depth = project(rig, joints3d)
    near = (depth < MIN_VIEW_DEPTH).any(-1)
    y = codec.encode(torch.where(near[..., None, None], codec.decode(x_0, rig.size), pixels), rig.size)
    return torch.where(near[..., None], x_0, y)
