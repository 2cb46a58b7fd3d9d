"""A critic for views from directions without a camera.

A single image does not determine the depth of a body. A body with wrong depth matches its own image, but looks
implausible from another direction. Every predicted body is therefore rotated about the vertical axis and projected
again, and a small critic learns to distinguish these views from those of the cameras (Drover et al., "Can 3D Pose Be
Learned from 2D Projections Alone?", 2018, arXiv 1808.07182; Chen et al., CVPR 2019, arXiv 1904.04812). Its receptive
field is a third of a second, so it also judges motion. Its real views are the same bodies in their own cameras, where
the other losses match them to the keypoints. Real and turned views thus have the same proportions and no detector
noise, and only depth distinguishes them.

The cameras must see people from all directions, like the turned views. Otherwise `turn` limits the rotation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hmr4d.methods.k2m.keypoint_input import NUM_ROWS, normalize
from hmr4d.methods.k2m.projection import FOCAL_LENGTH, MIN_DEPTH, project
from hmr4d.methods.k2m.smpl_head import reference_depth

NUM_INPUTS = 2 * (NUM_ROWS - 1) + 3  # keypoints, then velocity of the person and change of size
REACH = 5  # kernel size of the convolutions, frames
SLOPE = 0.2  # negative slope of the leaky ReLU


class ViewCritic(nn.Module):
    """Scores sections of 2D motion: high for camera views, low for turned views.

    The network consists of temporal convolutions with spectral normalization (Miyato et al., ICLR 2018, arXiv
    1802.05957). It is invariant to position and size in the image.

    Args:
        width: number of channels.
    """

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        sizes = [(NUM_INPUTS, width, 1, 1), (width, width, REACH, 1), (width, width, REACH, 2), (width, width, 3, 1)]
        layers: list[nn.Module] = []
        for channels, out, reach, stride in sizes:
            layers += [_conv(channels, out, reach, stride), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, _conv(width, 1, 1, 1))

    def forward(self, pixels: Tensor, size: Tensor) -> Tensor:
        """Scores (B, F / 2) of keypoints (B, F, 17, 2), pixels, in images of width and height `size` (B, 2)."""
        last = torch.cat([size, torch.ones_like(size[:, :1])], -1)[:, None, None].expand(-1, pixels.shape[1], 1, -1)
        shown = torch.cat([torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1), last], 2)
        rows = normalize(shown, "person")
        return self.layers(torch.cat([rows[:, :, :-1, :2].flatten(2), rows[:, :, -1]], -1).mT)[:, 0]


def _conv(channels: int, out: int, reach: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv1d(channels, out, reach, stride, padding=reach // 2))


def turned_pixels(points: Tensor, yaw: Tensor, size: Tensor, *, focal: float = FOCAL_LENGTH) -> Tensor:
    """Projection of a body from another direction.

    Args:
        points: (B, F, J, 3) meters, camera frame.
        yaw: (B,) rotation of the clips about the vertical axis through their center, radians.
        size: (B, 2) width and height of the image.
        focal: focal length, pixels.

    Returns:
        (B, F, J, 2) pixels; the center of the clip is at the image center, at the depth of an upright person.
    """
    x, y, z = (points - points.mean((1, 2), keepdim=True)).unbind(-1)
    cos, sin = yaw.cos()[:, None, None], yaw.sin()[:, None, None]
    depth = reference_depth(size)[:, :, None]
    return project(
        torch.stack([cos * x + sin * z, y, cos * z - sin * x + depth], -1), size, focal=focal, min_depth=MIN_DEPTH
    )[0]


def view_terms(critic: ViewCritic, seen: Tensor, turned: Tensor, size: Tensor) -> dict[str, Tensor]:
    """Hinge losses of critic and bodies (Lim and Ye, "Geometric GAN", 2017, arXiv 1705.02894).

    Args:
        critic: critic in training.
        seen: (B, F, 17, 2) pixels of bodies in their own cameras; they pass no gradient to the bodies.
        turned: (B, F, 17, 2) pixels of turned bodies.
        size: (B, 2) width and height of the image.

    Returns:
        `turned`: loss of the bodies, without gradient for the critic. `critic`: loss of the critic, without gradient
            for the bodies.
    """
    real, fake = critic(seen.detach(), size), critic(turned.detach(), size)
    lost = (1 - real).relu().mean() + (1 + fake).relu().mean()
    learning = [p for p in critic.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    score = critic(turned, size).mean()
    for parameter in learning:
        parameter.requires_grad_(True)
    return {"turned": -score, "critic": lost}
