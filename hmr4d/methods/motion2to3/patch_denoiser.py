"""A denoiser for Motion-2-to-3 designed in this project: tokens are patches of several frames of one view.

It replaces the network of the paper (arXiv 2412.13111), which has one token per frame. Its blocks are those of DiT
(`hmr4d.nn.modulated`); docs/motion2to3.md gives the reasons.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hmr4d.nn.attention import trim_padding, zero_initialized
from hmr4d.nn.embeddings import SinusoidalPositions, sinusoidal_table
from hmr4d.nn.modulated import ModulatedBlock

MASKED = -1e4  # added to the attention scores of masked keys; fits bfloat16
EMBEDDED_STEPS = 1000  # rows of the embedding tables of diffusion steps and of lengths in frames


class PatchDenoiser(nn.Module):
    """Predicts clean 2D motion from noisy 2D motion, text and cameras, with several frames per token.

    A token contains `patch` frames of one view and half a patch on either side, so neighboring tokens overlap. One
    attention layer attends to the tokens of all views and to the text tokens. Diffusion step, pooled text and length in
    frames modulate every block (AdaLN-zero). Each token predicts its frames and the half patches on both sides;
    overlapping predictions are averaged with triangular weights. Zero-initialised convolutions over time then refine
    the prediction. They also read the noisy motion, which preserves per-frame details of nearly clean motion.

    Args:
        num_features: D, features of the motion, 2 per point.
        text_dim: width of the text features (token states and pooled vector).
        patch: frames per token, even.
        dim, ff_dim, num_layers, num_heads, dropout: options of the blocks.
        condition_dim: width of the vector that modulates the blocks.
        memory_dim: width of the text tokens in the blocks.
        refine_dim: channels of the last convolution.
        cam_dim: width of the camera embedding, 0 for none.
        use_views: support several views; a single view works with both settings.
    """

    text_mode = "tokens_and_pooled"
    use_condition2d = False

    def __init__(
        self,
        *,
        num_features: int,
        text_dim: int = 384,
        pooled_dim: int = 384,
        patch: int = 4,
        dim: int = 320,
        ff_dim: int = 768,
        num_layers: int = 6,
        num_heads: int = 5,
        dropout: float = 0.0,
        condition_dim: int = 128,
        memory_dim: int = 128,
        refine_dim: int = 96,
        cam_dim: int = 0,
        use_views: bool = False,
    ) -> None:
        super().__init__()
        if patch < 2 or patch % 2:
            raise ValueError(f"patch is {patch}; give an even number of frames, 2 or more.")
        self.num_features, self.text_dim, self.pooled_dim, self.cam_dim = num_features, text_dim, pooled_dim, cam_dim
        self.patch, self.use_views = patch, use_views
        self.positions = SinusoidalPositions(dim)
        self.embed_motion = nn.Linear(2 * patch * num_features, dim)
        self.embed_cam = zero_initialized(nn.Linear(cam_dim, dim)) if cam_dim else None
        self.embed_text = nn.Linear(text_dim, memory_dim)
        self.embed_pooled = nn.Linear(pooled_dim, condition_dim)
        self.embed_step = nn.Linear(condition_dim, condition_dim)
        self.embed_length = nn.Linear(condition_dim, condition_dim)
        self.register_buffer("numbers", sinusoidal_table(EMBEDDED_STEPS, condition_dim), persistent=False)
        self.mix_condition = nn.Linear(condition_dim, condition_dim)
        self.blocks = nn.ModuleList(
            ModulatedBlock(
                dim,
                num_heads=num_heads,
                ff_dim=ff_dim,
                condition_dim=condition_dim,
                memory_dim=memory_dim,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )
        self.out_norm = nn.LayerNorm(dim)
        self.motion_head = nn.Linear(dim, 2 * patch * num_features)
        self.refine_in = nn.Conv1d(2 * num_features, refine_dim, 5, padding=2)
        self.refine_modulation = zero_initialized(nn.Linear(condition_dim, 2 * refine_dim))
        self.refine_out = nn.Conv1d(refine_dim, num_features, 3, padding=1)
        nn.init.zeros_(self.refine_out.weight)
        assert self.refine_out.bias is not None
        nn.init.zeros_(self.refine_out.bias)
        ramp = (torch.arange(patch) + 0.5) / patch
        self.register_buffer("overlap", torch.cat([ramp, ramp.flip(0)]), persistent=False)

    numbers: Tensor
    overlap: Tensor

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        *,
        lengths: Tensor,
        text: Tensor,
        text_valid: Tensor,
        text_pooled: Tensor,
        cam: Tensor | None = None,
        condition2d: Tensor | None = None,
    ) -> Tensor:
        """Clean motion (B, V, L, D); values of padded frames are meaningless.

        Args:
            x_t: (B, V, L, D) noisy motion.
            t: (B,) or scalar diffusion step.
            lengths: (B,) valid frames.
            text: (B, M, text_dim) token states.
            text_valid: (B, M) bool, True for real tokens.
            text_pooled: (B, pooled_dim) pooled text vector.
            cam: (B, V, cam_dim) camera embedding; None: no camera term.
            condition2d: not supported; must be None.
        """
        if condition2d is not None:
            raise ValueError(
                "A patch network does not support a 2D motion as condition. Choose a network with use_condition2d."
            )
        batch, num_views, num_frames, _ = x_t.shape
        lengths = lengths.to(x_t.device)
        valid = torch.arange(num_frames, device=x_t.device) < lengths[:, None]
        x_t = x_t * valid[:, None, :, None]
        tokens = self.embed_motion(self._windows(x_t))  # (B, V, P, D)
        tokens = tokens + self.positions(tokens.shape[2])
        if self.embed_cam is not None and cam is not None:
            tokens = tokens + self.embed_cam(cam)[:, :, None]
        condition = self._condition(t.expand(batch) if t.ndim == 0 else t, lengths, text_pooled)
        memory, memory_valid = trim_padding(text, text_valid)
        memory = self.embed_text(memory)
        counts = valid[:, :: self.patch].repeat(1, num_views)  # a token is valid if its first frame is
        bias = torch.cat([memory_valid, counts], 1).logical_not().to(tokens.dtype)[:, None, None] * MASKED
        hidden = tokens.flatten(1, 2)
        for block in self.blocks:
            hidden = block(hidden, condition, memory, bias)
        hidden = self.motion_head(self.out_norm(hidden)).unflatten(1, (num_views, -1))
        motion = self._overlap_add(hidden, valid[:, :: self.patch], num_frames)
        return self._refine(motion, x_t, valid, condition)

    def _condition(self, t: Tensor, lengths: Tensor, pooled: Tensor) -> Tensor:
        """Modulation vector (B, condition_dim) from diffusion step, length and pooled text."""
        step, length = self.numbers[t], self.numbers[lengths.clamp(max=EMBEDDED_STEPS - 1)]
        mixed = self.embed_step(step) + self.embed_length(length) + self.embed_pooled(pooled)
        return F.silu(self.mix_condition(F.silu(mixed)))

    def _windows(self, x: Tensor) -> Tensor:
        """(B, V, L, D) -> (B, V, P, 2 patch D): frames of each token, with half a patch on either side."""
        half, num_frames = self.patch // 2, x.shape[2]
        missing = -num_frames % self.patch
        padded = F.pad(x, (0, 0, half, half + missing))
        windows = padded.unfold(2, 2 * self.patch, self.patch)  # (B, V, P, D, 2 patch)
        return windows.transpose(-1, -2).flatten(-2)

    def _overlap_add(self, x: Tensor, counts: Tensor, num_frames: int) -> Tensor:
        """(B, V, P, 2 patch D) -> (B, V, L, D): weighted mean of the predictions of each frame; closer tokens have more
        weight.

        Tokens beyond the motion, where `counts` (B, P) is False, have no weight.
        """
        half = self.patch // 2
        x = x.unflatten(-1, (2, self.patch, self.num_features))
        weights = self.overlap.unflatten(0, (2, self.patch)) * counts[:, None, :, None, None]  # (B, 1, P, 2, patch)
        weights = weights.to(x.dtype)[..., None]
        summed = self._halves_over_each_other(x * weights)
        total = self._halves_over_each_other(weights).clamp(min=1e-3)
        return (summed / total).flatten(2, 3)[:, :, half : half + num_frames]

    @staticmethod
    def _halves_over_each_other(x: Tensor) -> Tensor:
        """(B, V, P, 2, patch, D) -> (B, V, P + 1, patch, D): adds the second half of each token to the first half of
        the next."""
        first, second = x.unbind(3)
        return F.pad(first, (0, 0, 0, 0, 0, 1)) + F.pad(second, (0, 0, 0, 0, 1, 0))

    def _refine(self, x: Tensor, x_t: Tensor, valid: Tensor, condition: Tensor) -> Tensor:
        """The prediction (B, V, L, D) after refinement by convolutions over time, which the condition modulates."""
        num_views = x.shape[1]
        frames = valid.repeat_interleave(num_views, 0)[:, None]  # (B V, 1, L)
        shift, scale = self.refine_modulation(condition).repeat_interleave(num_views, 0)[..., None].chunk(2, 1)
        both = torch.cat([x, x_t.to(x.dtype)], -1).flatten(0, 1).transpose(1, 2) * frames
        hidden = F.silu(self.refine_in(both) * (1 + scale) + shift) * frames
        return x + self.refine_out(hidden).transpose(1, 2).unflatten(0, (-1, num_views))
