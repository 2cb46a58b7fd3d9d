"""Evaluation protocols, tests, result cards and the ablation study."""
