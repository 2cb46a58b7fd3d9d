"""Learned evaluators of text and motion: networks, training, scoring."""
