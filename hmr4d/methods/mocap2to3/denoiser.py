"""The denoiser of Mocap-2-to-3: the 2D motion of one view, or of several calibrated views at once.

Wang et al., "Mocap-2-to-3", CVPR 2026, arXiv 2503.03222. Depth, width and number of heads of the size `base`
are those of the paper. The paper does not specify the rest: post-norm layers, clean motion as output and
zero-initialized attention across views are those of Motion-2-to-3 (arXiv 2412.13111). Visibility flags and foot-contact
conditioning are additions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hmr4d.methods.mocap2to3.pointmap_encoder import PointmapEncoder
from hmr4d.nn.attention import zero_initialized
from hmr4d.nn.embeddings import SinusoidalPositions, StepEmbedding
from hmr4d.nn.trunk import Trunk


class LiftingDenoiser(nn.Module):
    """Predicts clean motion features of V views from noisy ones, their cameras and the observed motion of view 0.

    Each view has one token for diffusion step and camera, and one token per frame. Every layer attends to the pointmap
    tokens of its view and, with `use_views`, across the views of a frame, with an embedding that marks view 0. All
    multi-view parts are zero-initialized, so an untrained network equals V single-view networks.

    Args:
        num_features: D, features of the state.
        num_condition_features: width of the observed motion with its visibility flags, 0 for none.
        num_contact_features: width of the foot-contact conditioning per view and frame, 0 for none. It requires
            pointmaps.
        cam_dim: width of the camera condition.
        dim, ff_dim, num_layers, num_heads, dropout: options of the transformer trunk; the pointmap encoder shares them.
        use_views: attend across views.
        use_pointmaps: False replaces every map by the learned null token.
        grid, patch, map_blocks: options of the pointmap encoder.

    Attributes:
        settings: all arguments, for releases.
    """

    def __init__(
        self,
        *,
        num_features: int,
        num_condition_features: int = 0,
        num_contact_features: int = 0,
        cam_dim: int = 7,
        dim: int = 512,
        ff_dim: int = 1024,
        num_layers: int = 8,
        num_heads: int = 4,
        dropout: float = 0.1,
        use_views: bool = False,
        use_pointmaps: bool = True,
        grid: int = 64,
        patch: int = 8,
        map_blocks: int = 2,
    ) -> None:
        self.settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.num_features, self.cam_dim, self.use_views = num_features, cam_dim, use_views
        self.num_condition_features = num_condition_features
        self.num_contact_features = num_contact_features if use_pointmaps else 0
        self.positions = SinusoidalPositions(dim)
        self.embed_step = StepEmbedding(dim, self.positions)
        self.embed_cam = nn.Sequential(nn.Linear(cam_dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.null_cam = nn.Parameter(torch.randn(dim) * 0.02)
        self.embed_motion = nn.Linear(num_features, dim)
        self.dropout = nn.Dropout(dropout)
        self.pointmaps = None
        if use_pointmaps:
            self.pointmaps = PointmapEncoder(
                dim,
                grid=grid,
                patch=patch,
                num_blocks=map_blocks,
                num_heads=num_heads,
                ff_dim=ff_dim,
                dropout=dropout,
                use_views=use_views,
            )
        self.null_map = nn.Parameter(torch.randn(dim) * 0.02)
        self.trunk = Trunk(
            dim,
            num_layers=num_layers,
            num_heads=num_heads,
            ff_dim=ff_dim,
            dropout=dropout,
            use_views=use_views,
            use_memory=True,
        )
        self.embed_other = nn.Parameter(torch.zeros(dim)) if use_views else None
        if num_condition_features:
            self.embed_condition2d = nn.Linear(num_condition_features, dim)
            self.condition2d_out = zero_initialized(nn.Linear(dim, dim))
        if self.num_contact_features:
            self.embed_hints = nn.Sequential(nn.Linear(num_contact_features, dim), nn.SiLU())
            self.hints_out = zero_initialized(nn.Linear(dim, dim))
            self.hints_head = zero_initialized(nn.Linear(num_contact_features, num_features))
        self.motion_head = nn.Linear(dim, num_features)

    def encode_maps(self, pointmap: Tensor | None, known: Tensor | None = None) -> Tensor:
        """Memory (B, V, M, dim) of pointmaps (B, V, 4, grid, grid), or (1, 1, 1, dim) without pointmaps.

        It does not depend on the motion, so one call suffices for all steps of a sampling run.

        Args:
            pointmap: pointmaps; None: the null token.
            known: (B,) bool; False replaces the tokens of an item by the null token.
        """
        if self.pointmaps is None or pointmap is None:
            return self.null_map[None, None, None]
        memory = self.pointmaps(pointmap)
        return memory if known is None else torch.where(known[:, None, None, None], memory, self.null_map)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        *,
        lengths: Tensor,
        cam: Tensor,
        memory: Tensor,
        known: Tensor | None = None,
        condition2d: Tensor | None = None,
        contacts: Tensor | None = None,
    ) -> Tensor:
        """Clean state (B, V, L, D); values of padded frames are meaningless.

        Args:
            x_t: (B, V, L, D) noisy state.
            t: (B,) or scalar diffusion step.
            lengths: (B,) valid frames.
            cam: (B, V, cam_dim) camera condition.
            memory: result of `encode_maps`.
            known: (B,) bool; False replaces the cameras of an item by a learned vector. None: all are known.
            condition2d: (B, L, num_condition_features) observed motion; required if the network reads it.
            contacts: (B, V, L, num_contact_features), zeros where unknown; required if the network reads them.
        """
        batch, num_views, num_frames, _ = x_t.shape
        camera = self.embed_cam(cam)
        if known is not None:
            camera = torch.where(known[:, None, None], camera, self.null_cam)
        first = camera + self.embed_step(t.expand(batch) if t.ndim == 0 else t)[:, None]  # (B, V, dim)
        if self.embed_other is not None:
            first = torch.cat([first[:, :1], first[:, 1:] + self.embed_other], 1)
        frames = self.embed_motion(x_t)
        if self.num_condition_features:
            if condition2d is None:
                raise ValueError("This network reads the observed motion; give condition2d (B, L, features).")
            frames = frames + self.condition2d_out(self.embed_condition2d(condition2d))[:, None]
        if self.num_contact_features:
            if contacts is None:
                raise ValueError("This network reads foot-contact conditioning; give contacts (B, V, L, features).")
            frames = frames + self.hints_out(self.embed_hints(contacts))
        tokens = torch.cat([first[:, :, None], frames], 2) + self.positions(num_frames + 1)
        valid = torch.arange(num_frames + 1, device=x_t.device) <= lengths.to(x_t.device)[:, None]
        per_view = memory.expand(batch, num_views, *memory.shape[2:]).flatten(0, 1)
        clean = self.motion_head(self.trunk(self.dropout(tokens), valid, per_view)[:, :, 1:])
        return clean + self.hints_head(contacts) if self.num_contact_features else clean
