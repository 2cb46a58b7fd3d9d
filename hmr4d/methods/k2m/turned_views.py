"""Bodies seen from sides that no camera saw: a critic that tells whether such a view is like those that cameras saw.

One picture leaves the depth of a body open. A body whose depth is wrong fits its own picture, but looks odd from
another side. So every predicted body is turned about the vertical and projected again, and a small critic learns to
tell these views from those of the cameras (Drover et al., "Can 3D Pose Be Learned from 2D Projections Alone?", 2018,
arXiv 1808.07182; Chen et al., CVPR 2019, arXiv 1904.04812). It reads a third of a second, so that it knows motion too.
As real views it takes the same bodies from their own cameras, which the other losses hold on the keypoints: views of
both kinds then have the same proportions and no noise of a detector, and only the depth can tell them apart.

The views of the cameras must come from all sides, as those of the turned bodies do; `turn` limits the turns where they
do not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from hmr4d.methods.k2m.keypoint_input import NUM_ROWS, normalize
from hmr4d.methods.k2m.projection import FOCAL_LENGTH, MIN_DEPTH, project
from hmr4d.methods.k2m.smpl_head import reference_depth

NUM_INPUTS = 2 * (NUM_ROWS - 1) + 3  # keypoints, then velocity of the person and growth
REACH = 5  # frames of a convolution
SLOPE = 0.2  # below zero


class ViewCritic(nn.Module):
    """Scores of stretches of 2D motion: high for those of cameras, low for those of turned bodies.

    Convolutions over time with spectral normalization (Miyato et al., ICLR 2018, arXiv 1802.05957). Place and size in
    the image do not matter.

    Args:
        width: channels.
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
    """What a camera on another side sees of a body.

    Args:
        points: (B, F, J, 3) metres in the frame of the camera.
        yaw: (B,) radians that the clips are turned by about the vertical through their middle.
        size: (B, 2) width and height of the image.
        focal: pixels.

    Returns:
        (B, F, J, 2) pixels; the middle of the clip is in the middle of the image, at the depth of an upright person.
    """
    x, y, z = (points - points.mean((1, 2), keepdim=True)).unbind(-1)
    cos, sin = yaw.cos()[:, None, None], yaw.sin()[:, None, None]
    depth = reference_depth(size)[:, :, None]
    return project(
        torch.stack([cos * x + sin * z, y, cos * z - sin * x + depth], -1), size, focal=focal, min_depth=MIN_DEPTH
    )[0]


def view_terms(critic: ViewCritic, seen: Tensor, turned: Tensor, size: Tensor) -> dict[str, Tensor]:
    """Hinge losses of both sides (Lim and Ye, "Geometric GAN", 2017, arXiv 1705.02894).

    Args:
        critic: that learns.
        seen: (B, F, 17, 2) pixels of bodies from their cameras; no gradient reaches the bodies through them.
        turned: (B, F, 17, 2) pixels of turned bodies.
        size: (B, 2) of the image.

    Returns:
        `turned`: what bodies lower, its gradient does not reach the critic; `critic`: what the critic lowers, its
        gradient does not reach the bodies.
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
