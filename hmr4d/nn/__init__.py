"""Attention, trunks, text encoders, the training module."""
