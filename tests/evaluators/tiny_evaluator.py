"""The smallest evaluator of HumanML3D features that the tests share."""

from __future__ import annotations

from hmr4d.evaluators.evaluator import EvaluatorRecipe

RECIPE = EvaluatorRecipe(
    name="tiny",
    variant="corrected_hips",
    min_rows=24,
    text="tokens",
    text_encoder="hash",
    text_dim=32,
    movement_hidden=16,
    movement_dim=16,
    motion_hidden=16,
    text_hidden=16,
    embed_dim=8,
)
