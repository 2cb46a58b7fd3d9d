"""The denoiser of Motion-2-to-3: one network for single views and for several views at once.

Guo et al., "Motion-2-to-3", ICCV 2025, arXiv 2412.13111; the default sizes are those of the released weights. Like MDM
(Tevet et al., "Human Motion Diffusion Model", ICLR 2023, arXiv 2209.14916) it has one token per frame and predicts the
clean motion.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmr4d.nn.attention import trim_padding, zero_initialized
from hmr4d.nn.embeddings import SinusoidalPositions, StepEmbedding
from hmr4d.nn.trunk import Trunk


class MotionDenoiser(nn.Module):
    """Predicts clean 2D motion from noisy 2D motion, text and cameras.

    Each view has one token for diffusion step, camera and (pooled) text, and one token per frame. Views share all
    weights; with `use_views`, every layer also attends across the views of a frame. Text is a memory of token states
    (`text_mode="tokens"`) or one vector that is added to the first token (`"pooled"`).

    Args:
        num_features: D, features of the motion, 2 per point; the last two are the next root.
        text_dim: width of the text features.
        dim, ff_dim, num_layers, num_heads, dropout: options of the transformer trunk.
        text_mode: "tokens" or "pooled".
        cam_dim: width of the camera embedding, 0 for none.
        use_views: attend across views.
        separate_root_head: use a separate output head for the next root.
        use_condition2d: add a conditioning 2D motion to the frame tokens of every view.
    """

    def __init__(
        self,
        *,
        num_features: int,
        text_dim: int = 512,
        dim: int = 512,
        ff_dim: int = 1024,
        num_layers: int = 8,
        num_heads: int = 4,
        dropout: float = 0.1,
        text_mode: str = "tokens",
        cam_dim: int = 0,
        use_views: bool = False,
        separate_root_head: bool = False,
        use_condition2d: bool = False,
    ) -> None:
        super().__init__()
        if text_mode not in ("tokens", "pooled"):
            raise ValueError(f"Unknown text_mode '{text_mode}'; known: 'tokens', 'pooled'.")
        self.num_features, self.text_dim, self.pooled_dim, self.cam_dim = num_features, text_dim, text_dim, cam_dim
        self.text_mode, self.use_views, self.use_condition2d = text_mode, use_views, use_condition2d
        self.positions = SinusoidalPositions(dim)
        self.embed_step = StepEmbedding(dim, self.positions)
        self.embed_motion = nn.Linear(num_features, dim)
        self.embed_text = nn.Linear(text_dim, dim)
        self.embed_cam = zero_initialized(nn.Linear(cam_dim, dim)) if cam_dim else None
        self.embed_condition2d = zero_initialized(nn.Linear(dim, dim)) if use_condition2d else None
        self.dropout = nn.Dropout(dropout)
        self.trunk = Trunk(
            dim,
            num_layers=num_layers,
            num_heads=num_heads,
            ff_dim=ff_dim,
            dropout=dropout,
            use_views=use_views,
            use_memory=text_mode == "tokens",
        )
        self.motion_head = nn.Linear(dim, num_features)
        self.root_head = nn.Linear(dim, 2) if separate_root_head else None

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        *,
        lengths: Tensor,
        text: Tensor | None = None,
        text_valid: Tensor | None = None,
        cam: Tensor | None = None,
        condition2d: Tensor | None = None,
    ) -> Tensor:
        """Clean motion (B, V, L, D); values of padded frames are meaningless.

        Args:
            x_t: (B, V, L, D) noisy motion.
            t: (B,) or scalar diffusion step.
            lengths: (B,) valid frames.
            text: (B, M, text_dim) token states, or (B, text_dim) pooled; pooled text may be None.
            text_valid: (B, M) bool, True for real tokens.
            cam: (B, V, cam_dim) camera embedding; None: no camera term.
            condition2d: (B, L, D) conditioning 2D motion.
        """
        batch, num_views, num_frames, _ = x_t.shape
        first = self.embed_step(t.expand(batch) if t.ndim == 0 else t)[:, None]  # (B, 1, D)
        memory = memory_valid = None
        if self.text_mode == "pooled":
            first = first if text is None else first + self.embed_text(text)[:, None]
        else:
            if text is None or text_valid is None:
                raise ValueError("This denoiser needs token states and their mask: text (B, M, C), text_valid (B, M).")
            memory, memory_valid = trim_padding(text, text_valid)
            memory = self.embed_text(memory)
        first = first.expand(-1, num_views, -1)
        if self.embed_cam is not None and cam is not None:
            first = first + self.embed_cam(cam)
        frames = self.embed_motion(x_t)
        if self.embed_condition2d is not None and condition2d is not None:
            frames = frames + self.embed_condition2d(self.embed_motion(condition2d))[:, None]
        tokens = torch.cat([first[:, :, None], frames], 2) + self.positions(num_frames + 1)
        valid = torch.arange(num_frames + 1, device=x_t.device) <= lengths.to(x_t.device)[:, None]
        tokens = self.trunk(self.dropout(tokens), valid, memory, memory_valid)[:, :, 1:]
        x_0 = self.motion_head(tokens)
        if self.root_head is not None:
            x_0 = torch.cat([x_0[..., :-2], self.root_head(tokens)], -1)
        return x_0
