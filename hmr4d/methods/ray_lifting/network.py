"""The network of ray lifting: temporal convolutions on features in the ray frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmr4d.methods.ray_lifting.features import NUM_FEATURES, NUM_OUTPUTS
from hmr4d.methods.ray_lifting.uncertainty import UncertaintyNetwork


class TimeConvolution(nn.Module):
    """Convolution over three frames with a spacing of `dilation`, as one matrix product, with zero padding.

    Args:
        dim_in, dim_out: number of features.
        dilation: spacing, frames.
    """

    def __init__(self, dim_in: int, dim_out: int, dilation: int) -> None:
        super().__init__()
        self.dilation, self.linear = dilation, nn.Linear(3 * dim_in, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, dim_in) -> (B, L, dim_out)."""
        length = x.shape[1]
        padded = F.pad(x, (0, 0, self.dilation, self.dilation))
        parts = [padded[:, k * self.dilation : k * self.dilation + length] for k in range(3)]
        return self.linear(torch.cat(parts, -1))


class Block(nn.Module):
    """x + mix(silu(convolve(norm(x)))), with the mean over time as additional input of the convolution."""

    def __init__(self, dim: int, dilation: int, *, pools: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.convolve = TimeConvolution(dim, dim, dilation)
        self.pool = nn.Linear(dim, dim) if pools else None
        self.mix = nn.Linear(dim, dim)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Output (B, L, dim) for x (B, L, dim); valid (B, L, 1) is 1 for valid frames."""
        h = self.norm(x) * valid
        y = self.convolve(h)
        if self.pool is not None:
            mean = h.sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
            y = y + self.pool(mean)
        return x + self.mix(F.silu(y))


class RayNetwork(nn.Module):
    """Residual blocks of dilated convolutions; every second one also receives the mean over the window.

    Args:
        num_features, num_outputs: input and output features per frame.
        dim: width of the blocks.
        dilations: dilation of each block, frames.
        uncertainty: width of the network of the expected errors, which is trained afterward; 0: there is none.
    """

    def __init__(
        self,
        *,
        num_features: int = NUM_FEATURES,
        num_outputs: int = NUM_OUTPUTS,
        dim: int = 256,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 2, 1),
        uncertainty: int = 0,
    ) -> None:
        super().__init__()
        self.num_features, self.num_outputs, self.dim, self.dilations = num_features, num_outputs, dim, tuple(dilations)
        self.embed = TimeConvolution(num_features, dim, 1)
        self.blocks = nn.ModuleList(Block(dim, d, pools=bool(k % 2)) for k, d in enumerate(dilations))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_outputs)
        nn.init.normal_(self.head.weight, std=0.1 / math.sqrt(dim))
        nn.init.zeros_(self.head.bias)
        self.uncertainty = UncertaintyNetwork(uncertainty) if uncertainty else None

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Outputs (B, L, O), float32, from features (B, L, F) and valid frames (B, L) bool."""
        mask = valid[..., None].to(features)
        x = F.silu(self.embed(features * mask)).float()
        for block in self.blocks:
            x = block(x, mask)
        with torch.autocast(x.device.type, enabled=False):  # half precision costs a few millimeters here
            return self.head(self.norm(x.float()))
