"""A transformer over joints and frames in two orders (DSTformer).

Zhu et al., "MotionBERT: A Unified Perspective on Learning Human Motion Representations", ICCV 2023, arXiv 2210.06551.
Modules have the published names, so published weights only need `translate_published`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hmr4d.nn.attention import Attention

INIT_STD = 0.02  # standard deviation of initial weights and embeddings
HALVES = ("s", "t")  # over the joints of a frame; over the frames of a joint


class Mlp(nn.Module):
    """Linear, GELU, linear over the last axis."""

    def __init__(self, dim: int, hidden_dim: int, output_dim: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, dim if output_dim is None else output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., output_dim)."""
        return self.fc2(self.act(self.fc1(x)))


class DualBlock(nn.Module):
    """Pre-norm attention and MLP over joints and over frames, one after the other.

    Args:
        dim: channels.
        num_heads: heads of both attentions.
        mlp_ratio: ratio of hidden to outer channels.
        order: "st": joints first; "ts": frames first.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, order: str) -> None:
        super().__init__()
        self.order = order
        for half in HALVES:
            self.add_module(f"norm1_{half}", nn.LayerNorm(dim))
            self.add_module(f"attn_{half}", Attention(dim, num_heads))
            self.add_module(f"norm2_{half}", nn.LayerNorm(dim))
            self.add_module(f"mlp_{half}", Mlp(dim, int(dim * mlp_ratio)))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, F, J, C) -> the same shape; `valid` (B, F) bool marks valid frames."""
        for half in self.order:
            attention = self.get_submodule(f"attn_{half}")
            normed = self.get_submodule(f"norm1_{half}")(x)
            if half == "s":
                x = x + attention(normed.flatten(0, 1)).unflatten(0, x.shape[:2])
            else:
                tracks = normed.transpose(1, 2).flatten(0, 1)  # (B J, F, C)
                mask = None if valid is None else valid.repeat_interleave(x.shape[2], 0)
                x = x + attention(tracks, mask).unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
            x = x + self.get_submodule(f"mlp_{half}")(self.get_submodule(f"norm2_{half}")(x))
        return x


class DSTformer(nn.Module):
    """Converts tracks of points to one representation per frame and point.

    Args:
        dim_in: channels of a point.
        num_joints: J.
        dim_feat: channels of the layers.
        dim_rep: channels of the representation.
        depth: levels of two blocks each.
        num_heads: heads of all attentions.
        mlp_ratio: ratio of hidden to outer channels of the MLPs.
        max_length: number of known frame positions; at least the length of the longest clip.
        dim_out: channels of `head` on the representation; None: no head.
        use_checkpoint: recompute the blocks in the backward pass, which saves memory.
    """

    def __init__(
        self,
        *,
        dim_in: int = 3,
        num_joints: int = 18,
        dim_feat: int = 512,
        dim_rep: int = 512,
        depth: int = 1,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        max_length: int = 304,
        dim_out: int | None = None,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.num_joints, self.max_length, self.use_checkpoint = num_joints, max_length, use_checkpoint
        self.joints_embed = nn.Linear(dim_in, dim_feat)
        self.pos_embed = nn.Parameter(torch.zeros(1, num_joints, dim_feat))
        self.temp_embed = nn.Parameter(torch.zeros(1, max_length, 1, dim_feat))
        self.blocks_st = nn.ModuleList(DualBlock(dim_feat, num_heads, mlp_ratio, "st") for _ in range(depth))
        self.blocks_ts = nn.ModuleList(DualBlock(dim_feat, num_heads, mlp_ratio, "ts") for _ in range(depth))
        self.ts_attn = nn.ModuleList(nn.Linear(2 * dim_feat, 2) for _ in range(depth))
        self.norm = nn.LayerNorm(dim_feat)
        self.pre_logits = nn.Linear(dim_feat, dim_rep)
        self.head = None if dim_out is None else nn.Linear(dim_rep, dim_out)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INIT_STD)
                nn.init.zeros_(module.bias)
        for embedding in (self.pos_embed, self.temp_embed):
            nn.init.trunc_normal_(embedding, std=INIT_STD)
        for fuse in self.ts_attn:  # initially an average with equal weights
            assert isinstance(fuse, nn.Linear)
            nn.init.zeros_(fuse.weight)
            nn.init.constant_(fuse.bias, 0.5)

    def forward(self, x: Tensor, *, frame_offset: Tensor | int = 0, valid: Tensor | None = None) -> Tensor:
        """Representation of every point.

        Args:
            x: (B, F, J, C) points.
            frame_offset: index of the first frame in its clip; one, or (B,).
            valid: (B, F) bool, valid frames; None: all.

        Returns:
            (B, F, J, dim_rep) in (-1, 1).

        Raises:
            ValueError: other joints, or frames beyond `max_length`.
        """
        if x.ndim != 4 or x.shape[2] != self.num_joints:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (B, F, {self.num_joints}, C).")
        x = self.joints_embed(x) + self.pos_embed + self._time(x.shape[1], frame_offset)
        for block_st, block_ts, fuse in zip(self.blocks_st, self.blocks_ts, self.ts_attn, strict=True):
            if self.use_checkpoint and x.requires_grad:
                x_st = checkpoint(block_st, x, valid, use_reentrant=False)
                x_ts = checkpoint(block_ts, x, valid, use_reentrant=False)
            else:
                x_st, x_ts = block_st(x, valid), block_ts(x, valid)
            share = fuse(torch.cat([x_st, x_ts], -1)).softmax(-1)
            x = x_st * share[..., :1] + x_ts * share[..., 1:]
        return torch.tanh(self.pre_logits(self.norm(x)))

    def _time(self, num_frames: int, frame_offset: Tensor | int) -> Tensor:
        """(B or 1, F, 1, C) embeddings of frames from `frame_offset` on."""
        offsets = torch.as_tensor(frame_offset, device=self.temp_embed.device).reshape(-1)
        first, last = int(offsets.min()), int(offsets.max()) + num_frames
        if first < 0 or last > self.max_length:
            raise ValueError(
                f"The input has frames {first} to {last - 1}, but the network supports 0 to {self.max_length - 1}. "
                "Cut the clip into windows, or build the network with a larger max_length."
            )
        return self.temp_embed[0, offsets[:, None] + torch.arange(num_frames, device=offsets.device)]


def translate_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a published DSTformer, with any prefix, with the names of this module."""
    names = {".proj.": ".out.", "pre_logits.fc.": "pre_logits."}
    translated = {}
    for key, value in weights.items():
        name = key
        for published, ours in names.items():
            name = name.replace(published, ours)
        translated[name] = value
    return translated
