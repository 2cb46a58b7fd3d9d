"""MotionCritic: a network that scores how natural a motion looks to people; needs the published checkpoint.

Wang et al., "Aligning Human Motion Generation with Human Perceptions", 2024, arXiv 2407.02272. Higher is better; the
score is unbounded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hmr4d.nn.dstformer import DSTformer, Mlp, translate_published
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.weights import load_inert, load_strictly

NUM_ROWS = 25  # 24 SMPL joints and the translation
NUM_FRAMES = 60  # scored frames
CHECKPOINT_KEY = "model_state_dict"


class MotionCritic(nn.Module):
    """The scoring network.

    Args:
        dim_feat, dim_rep, depth, num_heads, mlp_ratio, max_length: options of the DSTformer.
        num_rows: number of joints plus one for the translation.
    """

    def __init__(
        self,
        *,
        dim_feat: int = 256,
        dim_rep: int = 512,
        depth: int = 3,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        max_length: int = 243,
        num_rows: int = NUM_ROWS,
    ) -> None:
        super().__init__()
        self.dstran = DSTformer(
            dim_in=3,
            num_joints=num_rows,
            dim_feat=dim_feat,
            dim_rep=dim_rep,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            max_length=max_length,
            dim_out=3,
        )
        self.mlp = Mlp(num_rows * dim_rep, 2 * dim_rep, 1)

    def forward(self, motion: Tensor) -> Tensor:
        """Scores (B,) of (B, F, 25, 3): axis-angle of the joints, then the translation in meters, y up."""
        return self.mlp(self.dstran(motion).mean(1).flatten(1))[:, 0]


def critic_input(rotations: Tensor, translation: Tensor) -> Tensor:
    """Input (B, F, 25, 3) from rotations (B, F, 24, 3, 3) and translation (B, F, 3), meters, relative to the first
    frame, y up."""
    place = translation - translation[:, :1]
    return torch.cat([roma.rotmat_to_rotvec(rotations), place[:, :, None]], 2)


def load_motion_critic(path: str | Path) -> MotionCritic:
    """Loads the critic from a published checkpoint.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no checkpoint of the critic.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"MotionCritic checkpoint not found: {path}. Put motioncritic_pre.pth of MotionCritic (arXiv 2407.02272) "
            "there, or name the file with --checkpoint."
        )
    content = load_inert(path)
    state = content.get(CHECKPOINT_KEY) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no '{CHECKPOINT_KEY}'; expected the published checkpoint of MotionCritic.")
    critic = MotionCritic()
    weights = {key.removeprefix("module."): value for key, value in state.items()}
    load_strictly(critic, translate_published(weights), (), source=str(path))
    return critic.eval()
