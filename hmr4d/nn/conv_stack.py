"""Temporal convolutions that downsample a sequence by a power of two, and upsample it.

Architecture of Guo et al., "MoMask: Generative Masked Modeling of 3D Human Motions", CVPR 2024, arXiv 2312.00063, and
of the residual stacks of Zhang et al., "T2M-GPT", CVPR 2023, arXiv 2301.06052. Modules have the published order and
names.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}
RESIDUAL_SHARE = 0.3  # initial scale of a residual branch relative to its input, for `keep_scale`
DROPOUT = 0.2  # dropout of all residual blocks


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, T)."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


NORMS: dict[str | None, Callable[[int], nn.Module]] = {
    None: lambda channels: nn.Identity(),
    "LN": ChannelNorm,
    "GN": lambda channels: nn.GroupNorm(32, channels, eps=1e-6),
    "BN": lambda channels: nn.BatchNorm1d(channels, eps=1e-6),
}


class ResidualBlock(nn.Module):
    """Norm, activation, dilated convolution; norm, activation, pointwise convolution, dropout; plus the input."""

    def __init__(
        self, width: int, dilation: int, *, activation: str = "relu", norm: str | None = None, dropout: float = DROPOUT
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = NORMS[norm](width), NORMS[norm](width)
        self.activation1, self.activation2 = ACTIVATIONS[activation](), ACTIVATIONS[activation]()
        self.conv1 = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> the same shape."""
        hidden = self.conv1(self.activation1(self.norm1(x)))
        return x + self.dropout(self.conv2(self.activation2(self.norm2(hidden))))


class ResidualStack(nn.Module):
    """Residual blocks, the widest dilation first, as published in encoder and decoder."""

    def __init__(self, width: int, depth: int, dilation_growth: int, **block: object) -> None:
        super().__init__()
        dilations = [dilation_growth**level for level in reversed(range(depth))]
        self.model = nn.Sequential(*(ResidualBlock(width, d, **block) for d in dilations))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> the same shape."""
        return self.model(x)


class ConvEncoder(nn.Module):
    """(B, C, F) -> (B, D, F / 2^down).

    Args:
        input_dim: C.
        output_dim: D.
        width: channels of the layers.
        down: number of downsampling steps by 2.
        depth: residual blocks per step.
        dilation_growth: ratio of their dilations.
        activation, norm: options of the residual blocks, see ACTIVATIONS and NORMS.
        dropout: dropout of the residual blocks.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        width: int = 512,
        down: int = 2,
        depth: int = 3,
        dilation_growth: int = 3,
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        stack = {"activation": activation, "norm": norm, "dropout": dropout}
        layers: list[nn.Module] = [nn.Conv1d(input_dim, width, 3, padding=1), nn.ReLU()]
        for _ in range(down):
            halving = nn.Conv1d(width, width, 4, stride=2, padding=1)
            layers.append(nn.Sequential(halving, ResidualStack(width, depth, dilation_growth, **stack)))
        layers.append(nn.Conv1d(width, output_dim, 3, padding=1))
        self.model, self.rate = nn.Sequential(*layers), 2**down

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F), F a multiple of `rate` -> (B, D, F / rate)."""
        if x.shape[-1] % self.rate:
            raise ValueError(
                f"The sequence has {x.shape[-1]} frames; expected a multiple of {self.rate}. Cut or pad it."
            )
        return self.model(x)


class ConvDecoder(nn.Module):
    """(B, D, T) -> (B, F, C), F = T 2^up; arguments as for `ConvEncoder`."""

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        width: int = 512,
        up: int = 2,
        depth: int = 3,
        dilation_growth: int = 3,
        activation: str = "relu",
        norm: str | None = None,
        dropout: float = DROPOUT,
    ) -> None:
        super().__init__()
        stack = {"activation": activation, "norm": norm, "dropout": dropout}
        layers: list[nn.Module] = [nn.Conv1d(input_dim, width, 3, padding=1), nn.ReLU()]
        for _ in range(up):
            layers.append(
                nn.Sequential(
                    ResidualStack(width, depth, dilation_growth, **stack),
                    nn.Upsample(scale_factor=2, mode="nearest"),
                    nn.Conv1d(width, width, 3, padding=1),
                )
            )
        layers += [nn.Conv1d(width, width, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Conv1d(width, output_dim, 3, padding=1))

    @property
    def last(self) -> nn.Conv1d:
        """The last convolution."""
        layer = self.model[-1]
        assert isinstance(layer, nn.Conv1d)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T) -> (B, T 2^up, C)."""
        return self.model(x).transpose(1, 2)


@torch.no_grad()
def keep_scale(stack: ConvEncoder | ConvDecoder) -> None:
    """Initializes weights so that the convolutions preserve the scale of a signal (He et al., 2015).

    With PyTorch's default initialization, the scale shrinks in every layer: after an encoder and a decoder of default
    depth, differences between frames are reduced to a hundredth, compared with biases that are equal for all frames.
    """
    for module in stack.modules():
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for block in stack.modules():
        if isinstance(block, ResidualBlock):
            block.conv2.weight.mul_(RESIDUAL_SHARE)


def set_output_scale(decoder: ConvDecoder, std: float) -> None:
    """Initializes the last convolution with normal weights of `std` and zero bias, so that initial outputs are near
    zero."""
    with torch.no_grad():
        nn.init.normal_(decoder.last.weight, std=std)
        if decoder.last.bias is not None:
            nn.init.zeros_(decoder.last.bias)
