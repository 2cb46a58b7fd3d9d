"""Expected errors of lifted joints, predicted from the network's own scales and from further evidence.

The network predicts the scales of its errors frame by frame, during its own training. `UncertaintyNetwork` corrects
them afterward. It also knows how much the prediction differs from that for the mirrored track, how the track goes on
in the rest of the window, and that feet stand at the heights that lifting assumes, not at their true ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmr4d.methods.ray_lifting.features import JOINTS, Prediction, RayTrack

_OF_JOINTS, _OF_FRAMES = 9, 7
NUM_EVIDENCE = 4 * _OF_JOINTS + 2 * _OF_FRAMES
_NAMES = 6  # features that identify the joint


class UncertaintyNetwork(nn.Module):
    """Two layers for every joint and frame; corrections of the logarithms of three error sizes.

    Args:
        dim: width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.names = nn.Embedding(JOINTS, _NAMES)
        self.first, self.second = nn.Linear(NUM_EVIDENCE + _NAMES, dim), nn.Linear(dim, dim)
        self.last = nn.Linear(dim, 3)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, evidence: Tensor) -> Tensor:
        """(..., 22, 3) from evidence (..., 22, NUM_EVIDENCE)."""
        names = self.names.weight.expand(*evidence.shape[:-1], _NAMES)
        x = nn.functional.silu(self.first(torch.cat([evidence, names], -1)))
        return self.last(x + nn.functional.silu(self.second(x)))


def own_log_sizes(predicted: Prediction) -> Tensor:
    """Logarithms (B, L, 22, 3) of the network's own error sizes along the ray, across it, and in total, meters.

    The geometric mean of both scales correlates better with the total error than either: poor 2D also means poor depth.
    """
    along, across = predicted.log_along, predicted.log_across
    return torch.stack([along, across, (along + across) / 2], -1)


def evidence(track: RayTrack, predicted: Prediction, other: Prediction, valid: Tensor, *, fps: float) -> Tensor:
    """Evidence (B, L, 22, NUM_EVIDENCE) for the sizes of errors.

    Args:
        track: input track.
        predicted: mean of both predictions.
        other: one of both, of the track or of its mirror image.
        valid: (B, L) bool.
        fps: frames per second.
    """
    weight = valid[..., None].to(predicted.along)
    joints3d = track.frame.to_world(predicted.plane, predicted.along)
    speed = torch.diff(joints3d, dim=1, append=joints3d[:, -1:]).norm(dim=-1) * fps
    off = (predicted.along - other.along).abs()
    off_plane = (predicted.plane - other.plane).norm(dim=-1)
    correction = (predicted.plane - track.plane).norm(dim=-1) * track.seen
    of_joints = torch.stack(
        [
            predicted.log_along + 3,
            predicted.log_across + 4,
            (off + 0.005).log() + 4,
            (off_plane + 0.003).log() + 5,
            predicted.along.clamp(-2, 2),
            (predicted.along.abs() + 0.03).log() + 2,
            10 * correction.clamp(max=0.3),
            track.seen.to(off),
            (speed.clamp(max=5) + 0.1).log() + 1,
        ],
        -1,
    )
    distance, height = track.frame.distance, track.frame.height.expand_as(track.frame.distance)
    mean_distance = _over_time(distance[..., None], weight)[..., 0]
    of_frames = torch.stack(
        [
            distance.log() - 1.5,
            height.log() - 0.4,
            distance.log() - height.log() - 1,
            track.pixel.log() + 5.5,
            predicted.contact.sigmoid().amax(-1),
            track.meets.to(off).mean(-1),
            ((distance - mean_distance).abs() + 0.02).log() + 2,
        ],
        -1,
    )
    whole = torch.cat([of_joints, of_joints.mean(2, keepdim=True).expand_as(of_joints)], -1)
    frames = torch.cat([of_frames, _over_time(of_frames, weight)], -1)[:, :, None].expand(-1, -1, JOINTS, -1)
    return torch.cat([whole, _over_time(whole, weight[..., None]), frames], -1)


def _over_time(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over time of x (B, L, ...), in every frame."""
    mean = (x * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    return mean.expand_as(x)


def error_sizes(predicted: Prediction, track: RayTrack, joints3d: Tensor) -> Tensor:
    """Sizes (B, L, 22, 3) of the errors along the true ray, across it, and in total, meters.

    Args:
        predicted, track: prediction and its track.
        joints3d: (B, L, 22, 3) ground truth, meters, world of the camera.
    """
    height = track.frame.height
    center = torch.stack([torch.zeros_like(height), height, torch.zeros_like(height)], -1)[:, :, None]
    rays = joints3d - center
    rays = rays / rays.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    error = track.frame.to_world(predicted.plane, predicted.along) - joints3d
    along = (error * rays).sum(-1)
    return torch.stack([along.abs(), (error - along[..., None] * rays).norm(dim=-1), error.norm(dim=-1)], -1)


def size_scores(log_sizes: Tensor, sizes: Tensor) -> Tensor:
    """Negative log likelihood (..., 22) of error sizes (..., 22, 3), up to constants.

    The error along the ray is Laplace distributed. The two distances have densities r exp(-r / b).
    """
    orders = log_sizes.new_tensor([1.0, 2.0, 2.0])
    return (sizes * torch.exp(-log_sizes) + orders * log_sizes).sum(-1)
