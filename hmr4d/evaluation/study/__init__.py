"""The ablation study: its plan, runs, scores and report."""
