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
HIGHEST_SCORE = 12.0  # higher scores are ignored when the critic is used as a training loss
SMALL_ANGLE = 1e-6  # radians
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


def clipped_mean(scores: Tensor) -> Tensor:
    """Mean of the scores up to HIGHEST_SCORE; 0 if all are above it."""
    kept = scores[scores <= HIGHEST_SCORE]
    return kept.mean() if len(kept) else scores.new_zeros(())


def critic_input(rotations: Tensor, translation: Tensor) -> Tensor:
    """Input (B, F, 25, 3) from rotations (B, F, 24, 3, 3) and translation (B, F, 3), meters, relative to the first
    frame, y up."""
    place = translation - translation[:, :1]
    return torch.cat([roma.rotmat_to_rotvec(rotations), place[:, :, None]], 2)


def critic_input_from_rot6d_rows(motion: Tensor) -> Tensor:
    """Input (B, F, 25, 3) from the published format (B, 25, 6, F): first two rows of each matrix, then the translation.

    The arithmetic equals that of the published converter, which loses precision at small angles.
    """
    frames = motion.permute(0, 3, 1, 2)  # (B, F, 25, 6)
    first, second = frames[:, :, :-1].unflatten(-1, (2, 3)).unbind(-2)
    x = nn.functional.normalize(first, dim=-1)
    y = nn.functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    z = torch.linalg.cross(x, y)
    return torch.cat([_published_rotvec(torch.stack([x, y, z], -2)), frames[:, :, -1:, :3]], 2)


def _published_rotvec(matrix: Tensor) -> Tensor:
    """Axis-angle (..., 3) of rotations (..., 3, 3) by the published formula with square roots of diagonal sums."""
    a, b, c = matrix.diagonal(dim1=-2, dim2=-1).unbind(-1)
    halves = torch.stack([1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c], -1).relu().sqrt() / 2
    skew = matrix - matrix.mT
    signs = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)
    axis = torch.where((halves[..., 1:] < 0) != (signs < 0), -halves[..., 1:], halves[..., 1:])
    sine = axis.norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, halves[..., :1])
    is_small = angle.abs() < SMALL_ANGLE
    ratio = torch.where(is_small, 0.5 - angle**2 / 48, (angle / 2).sin() / torch.where(is_small, 1.0, angle))
    return axis / ratio


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
