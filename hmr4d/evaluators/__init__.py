"""Learned evaluators of text and motion: networks and their training."""
